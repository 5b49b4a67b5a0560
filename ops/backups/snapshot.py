"""One moment of a database, held still and lent to pg_dump.

The tables are locked before the snapshot is taken. Locked afterwards, a table could have been
altered in between: its rows would be read by one definition and dumped by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from ops.backups.errors import BackupError
from ops.backups.pinned import Connection, pin
from ops.backups.selection import Table, select_tables

__all__ = ["Snapshot", "Table", "snapshot"]

_ATTEMPTS = 5


@dataclass(frozen=True)
class Snapshot:
    """A transaction that sees one moment of a database, and lends that moment to pg_dump."""

    id: str  # for pg_dump --snapshot, as long as the transaction is open
    connection: Connection
    tables: list[Table]  # that hold rows, in pg_dump's order
    patterns: list[str]  # for pg_dump --table, partitioned tables too; empty: everything
    wal_position: str
    taken_at: datetime  # by the server's clock, in UTC


@contextmanager
def snapshot(
    connection_factory: Callable[[], Connection],
    *,
    tables: Sequence[str] = (),
    lock_timeout_seconds: float = 30,
) -> Iterator[Snapshot]:
    """Hold one moment of all tables, or of those that `tables` names as `pg_dump --table` does.

    `connection_factory` opens connections in autocommit mode. Raises BackupError when a table is
    unknown, may not be read, stays locked for longer than the limit, or when the schema does not
    stop changing.
    """
    with connection_factory() as connection:
        # Names without a schema are the login's own: looked up before its path is pinned.
        path = _scalar(connection, "SELECT pg_catalog.current_setting('search_path')")
        pin(connection, local=False)
        connection.execute(
            "SELECT pg_catalog.set_config('lock_timeout', %s, false)",
            [f"{max(1, int(lock_timeout_seconds * 1000))}ms"],
        )
        locked = _locked_tables(connection, tables, path)
        try:
            yield _taken(connection, locked, named=bool(tables))
        finally:
            with suppress(psycopg.Error):  # a connection that broke has nothing to end
                connection.execute("ROLLBACK")


def _locked_tables(connection: Connection, patterns: Sequence[str], path: str) -> list[Table]:
    for _ in range(_ATTEMPTS):
        listed = _listed(connection, patterns, path)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            if _lock(connection, listed) and _listed(connection, patterns, path) == listed:
                return listed
        except psycopg.errors.LockNotAvailable as error:
            connection.execute("ROLLBACK")
            raise BackupError(_who_holds_it(connection, listed)) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(
                f"{connection.info.user} may not read every table: {error.diag.message_primary}. "
                "Nothing was taken. Use a login that owns the tables and has BYPASSRLS."
            ) from error
        connection.execute("ROLLBACK")
    raise BackupError(
        f"Tables came and went while they were being locked, {_ATTEMPTS} times over. Nothing was "
        "taken. Run this again when the migration has ended."
    )


def _listed(connection: Connection, patterns: Sequence[str], path: str) -> list[Table]:
    if not patterns:
        return select_tables(connection, ())
    with connection.transaction(force_rollback=True):  # the pinned path comes back
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [path])
        return select_tables(connection, patterns)


def _lock(connection: Connection, tables: list[Table]) -> bool:
    """Lock all tables against changes of their definition; False when one is gone."""
    if not tables:
        return True
    names = sql.SQL(", ONLY ").join(sql.Identifier(each.schema, each.name) for each in tables)
    try:
        # LOCK alone takes no snapshot: the transaction's own begins with the next statement.
        connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(names))
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return False
    return True


def _taken(connection: Connection, tables: list[Table], *, named: bool) -> Snapshot:
    row = connection.execute(
        "SELECT pg_export_snapshot(), clock_timestamp(), CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text"
    ).fetchone()
    assert row is not None
    return Snapshot(
        id=row[0],
        connection=connection,
        tables=[each for each in tables if each.kind != "partitioned"],
        patterns=[each.pattern for each in tables] if named else [],
        wal_position=row[2],
        taken_at=row[1],
    )


def _who_holds_it(connection: Connection, tables: list[Table]) -> str:
    rows = connection.execute(_HOLDERS, [[table.oid for table in tables]]).fetchall()
    where = f"{rows[0][0]}.{rows[0][1]}" if rows else "A table"
    holders = [_holder(*row[2:]) for row in rows if row[:2] == rows[0][:2]]
    who = f" by {' and by '.join(holders)}" if holders else ""
    return (
        f"{where} was locked for too long{who}. Nothing was taken and nothing was changed. Wait "
        "until that has ended, or end it, and run this again."
    )


def _holder(pid: int | None, login: str, application: str, began: str, behind: list[int]) -> str:
    if pid is None:
        return "a prepared transaction (see pg_prepared_xacts)"
    called = f" ({application})" if application else ""
    waits = f", which itself waits for process {', '.join(map(str, behind))}" if behind else ""
    return f"process {pid} of {login}{called}, whose command began {began} UTC{waits}"


# Only ACCESS EXCLUSIVE stands in our way, held or waited for: who waits for it goes first.
_HOLDERS = """
    SELECT n.nspname, c.relname, l.pid, coalesce(a.usename, 'an unknown login'),
           coalesce(a.application_name, ''),
           coalesce(to_char(a.query_start, 'YYYY-MM-DD HH24:MI:SS'), 'at an unknown time'),
           CASE WHEN l.granted THEN '{}' ELSE pg_blocking_pids(l.pid) END
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation = ANY (%s::int8[]::oid[])
    ORDER BY l.granted DESC, 1, 2, 3
"""


def _scalar(connection: Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])
