"""What statements cost since the server began to count them (pg_stat_statements)."""

from __future__ import annotations

from psycopg import sql

from ops.health.context import Context
from ops.health.inspection.report import Column, Form, Report
from ops.health.statements import EXTENSION, require_statements

_MOST = 25
_COLUMNS = (
    Column("milliseconds", "All calls", Form.MILLISECONDS),
    Column("share", "Share", Form.SHARE),
    Column("calls", "Calls", Form.NUMBER),
    Column("average", "Each", Form.MILLISECONDS),
    Column("rows", "Rows", Form.NUMBER),
    Column("hit", "From memory", Form.SHARE),
    Column("role", "Role"),
    Column("query", "Statement", Form.STATEMENT),
)


def outliers(context: Context) -> Report:
    """Return the statements that took the most time, all their calls together."""
    return _report(context, "outliers", "What takes the most time", "s.total_exec_time")


def calls(context: Context) -> Report:
    """Return the statements that ran most often."""
    return _report(context, "calls", "What runs most often", "s.calls")


def _report(context: Context, name: str, title: str, by: str) -> Report:
    schema = require_statements(context.connection)
    context.require_statistics("What other roles' statements cost")
    view = sql.Identifier(schema, EXTENSION)
    rows = context.rows(sql.SQL(_STATEMENTS).format(view=view, by=sql.SQL(by), most=_MOST))
    since = context.value(
        sql.SQL("SELECT stats_reset FROM {}").format(sql.Identifier(schema, f"{EXTENSION}_info"))
    )
    counted = f", since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return Report(name, f"{title}{counted}", _COLUMNS, tuple(rows))


_STATEMENTS = """
    SELECT s.total_exec_time, s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0),
        s.calls, s.mean_exec_time, s.rows,
        s.shared_blks_hit::float8 / nullif(s.shared_blks_hit + s.shared_blks_read, 0),
        pg_get_userbyid(s.userid)::text, s.query
    FROM {view} s
    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.toplevel
    ORDER BY {by} DESC, s.queryid LIMIT {most}
"""
