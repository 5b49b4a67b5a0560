"""A mark on checks' own queries, so that looking does not look like work."""

from __future__ import annotations

from typing import Any

from psycopg import sql

# pg_stat_statements keeps comments with a statement's text.
MARK = "/* srvc health */"


def marked(query: Any) -> Any:
    """Return a query with the mark that keeps it out of the statements that are told about."""
    if isinstance(query, bytes):
        return query + f" {MARK}".encode()
    if isinstance(query, sql.Composable):
        return sql.Composed([query, sql.SQL(f" {MARK}")])
    return f"{query} {MARK}"
