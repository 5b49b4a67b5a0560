"""Damage on the disk: index pages that contradict each other, pages whose checksum is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from django.conf import settings
from psycopg import sql

from ops.health.context import Context
from ops.health.contract import HOURLY, BlindError, Reported, check
from ops.health.quoting import quoted
from ops.health.turns import Turn, take_turns
from ops.models import Area, BackupKind, Severity
from ops.postgres.roles import AMCHECK_EXTENSION, OWNER

_SECONDS = 0.08
_SMALL = 100  # pages: read within a millisecond
_DAMAGE = (
    psycopg.errors.IndexCorrupted,
    psycopg.errors.DataCorrupted,
    psycopg.errors.UndefinedFile,
)

# Those of the server's own tables too: without them there is no table at all. Sessions' own
# temporary ones can't be read by others.
_INDEXES = """
    SELECT i.indexrelid::bigint, n.nspname::text, x.relname::text, c.relname::text, x.relpages < %s
    FROM pg_index i
    JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_am m ON m.oid = x.relam
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE m.amname = 'btree' AND x.relkind = 'i' AND i.indisvalid AND i.indisready
      AND x.relpersistence = 'p'
    ORDER BY x.relpages, x.oid
"""
_CALLABLE = """
    SELECT n.nspname::text, has_function_privilege(
        format('%%I.bt_index_check(regclass, boolean)', n.nspname), 'EXECUTE')
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = %s
"""
# What a base backup brings back are the live server's own pages; a dump's indexes are new ones.
_DRILLED = """
    SELECT max(d.finished_at) FROM public.ops_drill d JOIN public.ops_backup b ON b.id = d.backup_id
    WHERE b.kind = ANY(%s) AND d.steps @> '[{"step": "indexes", "state": "held"}]'
      AND d.finished_at > %s - make_interval(days => %s)
"""
_CHECKSUMS = """
    SELECT coalesce(datname, ''), checksum_failures, checksum_last_failure
    FROM pg_stat_database WHERE checksum_failures > 0 ORDER BY 1
"""


@check(Area.INTEGRITY, "Damaged indexes", limit=3.0, every=HOURLY)
def damaged_indexes(context: Context) -> Iterator[Reported]:
    """An index whose pages contradict each other hides rows from queries, lets duplicates in and
    gives wrong answers, without any error. Disks, memory and an upgrade of the system's sorting
    rules do that. amcheck reads the pages, some indexes in each run.
    """
    schema = _amcheck(context)
    if not schema:
        return
    found = context.rows(_INDEXES, [_SMALL])
    numbers = {f"{row[1]}.{row[2]}": row[0] for row in found}
    look = sql.SQL(
        "SELECT {}.bt_index_check(number::regclass, {}) FROM unnest(%s::oid[]) number"
    ).format(sql.Identifier(schema), sql.Literal(context.deep))

    def together(keys: Sequence[str]) -> tuple[str, ...]:
        # An error says that one of them is damaged; then each is looked at by itself.
        context.connection.execute(look, [[numbers[key] for key in keys]])
        return ()

    yield from take_turns(
        context,
        "damaged_indexes",
        [_turn(context, schema, *row) for row in found],
        together=together,
        seconds=_SECONDS,
        days=context.limits.amcheck_days,
        noun="indexes",
    )


@check(Area.INTEGRITY, "Pages whose checksum is wrong", every=HOURLY)
def checksum_failures(context: Context) -> Iterator[Reported]:
    """PostgreSQL writes a checksum into every page and compares it whenever it reads one from the
    disk. A single failure means that the disk gave back something else than was written.
    """
    for database, count, last in context.rows(_CHECKSUMS):
        named = f"the database {database}" if database else "tables that all databases share"
        when = f", the last at {last:%Y-%m-%d %H:%M} UTC" if last else ""
        yield Reported(
            database or "shared",
            Severity.CRITICAL,
            f"Pages of {named} have a wrong checksum",
            f"{count:,} {'time' if count == 1 else 'times'} since statistics began{when}. The "
            "disk, its controller or the memory loses data. A base backup reads every page and "
            "names the files with damage; the last good backup has what was in them. Counted until "
            "pg_stat_reset() is called in that database by a superuser.",
            "manage.py backup --base",
            f"database {database}" if database else "server",
        )
    # A developer's machine may do without.
    if settings.PRODUCTION_LIKE and context.value("SHOW data_checksums") == "off":
        yield Reported(
            "off",
            Severity.INFO,
            "The server writes no checksums",
            "Nobody notices when the disk gives back something else than was written. They are "
            "switched on with the server stopped, by its operating system's account.",
            'pg_checksums --enable --progress --pgdata "$PGDATA"',
            "server",
        )


def _amcheck(context: Context) -> str:
    """The schema of amcheck; "" where a drill has done the same. Raises BlindError."""
    row = context.rows(_CALLABLE, [AMCHECK_EXTENSION])
    if row and row[0][1]:
        return str(row[0][0])
    days, kinds = context.limits.amcheck_days, [BackupKind.BASE, BackupKind.INCREMENTAL]
    if context.value(_DRILLED, [kinds, context.now, days]) is not None:
        return ""
    how = "manage.py provision"
    if row:
        # Made by somebody else; only what is granted while it is made stays out of dumps.
        how = f"DROP EXTENSION {AMCHECK_EXTENSION};\nmanage.py provision"
    raise BlindError(
        f"Indexes can't be read for damage: {AMCHECK_EXTENSION} is not there for {OWNER}, and no "
        f"drill of a base backup has done it in the last {days} days.",
        how,
    )


def _turn(
    context: Context, schema: str, oid: int, of: str, name: str, table: str, is_small: bool
) -> Turn:
    title = f"{of}.{name}"

    def read() -> Iterator[Reported]:
        look = "SELECT {}.bt_index_check({}::oid::regclass, {})"
        context.connection.execute(
            sql.SQL(look).format(
                sql.Identifier(schema), sql.Literal(oid), sql.Literal(context.deep)
            )
        )
        return iter(())

    def refused(error: psycopg.Error) -> Reported | None:
        if not isinstance(error, _DAMAGE):
            return None
        # The server's own indexes can't be built anew beside the old ones.
        how = "" if of in {"pg_catalog", "pg_toast"} else "CONCURRENTLY "
        said = " ".join(str(error.diag.message_primary or error).split())
        return Reported(
            title,
            Severity.CRITICAL,
            f"The index {title} is damaged",
            f"amcheck says: {said}. Queries that use it miss rows of {table} or find wrong ones. "
            "Look for the cause before anything else (the disk, the memory, an upgrade of the "
            "system's libraries), take a backup, then build it anew.",
            f"REINDEX INDEX {how}{quoted(of, name)};",
            f"index {title}",
        )

    return Turn(title, title, read, is_small=is_small, refused=refused)
