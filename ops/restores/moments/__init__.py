"""Moments of the past: named, looked for in backups and WAL, recovered on a private server."""
