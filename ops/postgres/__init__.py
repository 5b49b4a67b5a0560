"""The only place that starts processes or speaks about PostgreSQL servers."""
