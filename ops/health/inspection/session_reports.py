"""What sessions hold and wait for, now."""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.blocking import Node, blocking_trees, release, shortened
from ops.health.context import Context
from ops.health.inspection.report import Column, Form, Report
from ops.health.steps import granting, in_a_sentence


def locks(context: Context) -> Report:
    """Return every lock on a table or a row of this database; those waited for first."""
    columns = (
        Column("granted", "Has it", Form.FLAG),
        Column("mode", "Lock"),
        Column("object", "On"),
        Column("pid", "Session"),
        Column("role", "Role"),
        Column("seconds", "Since", Form.SECONDS),
        Column("state", "State"),
        Column("query", "Statement", Form.STATEMENT),
    )
    return Report("locks", "Locks", columns, tuple(context.rows(_LOCKS)), _unseen(context))


def blocking(context: Context) -> Report:
    """Return who waits for whom: each tree from its root down."""
    columns = (
        Column("depth", "Depth", Form.NUMBER),
        Column("session", "Session"),
        Column("state", "State"),
        Column("waits_for", "Waits for"),
        Column("seconds", "Waiting", Form.SECONDS),
        Column("holds", "Holds"),
        Column("query", "Statement", Form.STATEMENT),
    )
    rows = []
    notes = list(_unseen(context))
    for tree in blocking_trees(context.connection):
        rows += list(_rows(tree, 0))
        step = in_a_sentence(release(tree), context.endpoint.database)
        notes.append(f"To let those go on who wait for {tree.session.title}: {step}")
    title = "Who waits for whom" if rows else "Nobody waits for anybody"
    return Report("blocking", title, columns, tuple(rows), tuple(notes))


def _rows(node: Node, depth: int) -> Iterator[tuple[object, ...]]:
    session = node.session
    title = f"{'  ' * depth}{session.title}"
    yield (
        depth, title, session.state, node.waits_for or None, node.waiting_seconds or None,
        list(node.holds) or None, shortened(session.query),
    )  # fmt: skip
    for waiter in node.waiters:
        yield from _rows(waiter, depth + 1)


def _unseen(context: Context) -> tuple[str, ...]:
    if context.sees_all_statistics:
        return ()
    role = context.facts.role
    allow = in_a_sentence(granting(role, "pg_monitor"))
    return (f"{role} sees no other role's statements. {allow}",)


# Locks on the server's own tables, and what every transaction has on itself, are noise; of this
# session all are.
_LOCKS = """
    SELECT l.granted, l.mode, coalesce(
            CASE l.locktype WHEN 'relation' THEN format('%I.%I', n.nspname, c.relname)
                WHEN 'tuple' THEN format('a row of %I.%I', n.nspname, c.relname)
                WHEN 'transactionid' THEN 'the end of a transaction'
                WHEN 'advisory' THEN format('advisory %s, %s', l.classid, l.objid) END,
            l.locktype),
        l.pid, a.usename::text,
        extract(epoch FROM now() - coalesce(l.waitstart, a.xact_start))::float8, a.state, a.query
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           OR (l.database IS NULL AND a.datname = current_database()))
      AND l.pid <> pg_backend_pid()
      AND coalesce(n.nspname, '') NOT IN ('pg_catalog', 'information_schema')
      AND (NOT l.granted OR l.locktype IN ('relation', 'tuple', 'advisory'))
    ORDER BY l.granted, 6 DESC NULLS LAST, 4, 3, 2
"""
