"""Databases that a restore or its undoing replaced: kept for a while, dropped when that is over.

They are closed to connections. Each is dropped only when its mark, a comment on the database, says
that SRVC keeps it: a database that somebody else made is never touched, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from django.conf import settings
from django.utils import timezone
from psycopg import sql

from ops.models import Restore
from ops.postgres import server
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.restores.complete.beside import name_beside
from ops.restores.complete.swap import kept_mark
from ops.restores.errors import RefusedError, RestoreError
from ops.runs import OWNER

_WORDS = ("before", "undone")


@dataclass(frozen=True)
class Kept:
    """A database on the server that is marked as kept."""

    name: str
    since: datetime
    size: int  # bytes


def kept_databases(connection: Connection, live: str) -> list[Kept]:
    """Return what the server keeps of a database's former states, oldest first."""
    mark = kept_mark(live)
    prefixes = [name_beside(live, word, "") for word in _WORDS]
    rows = connection.execute(
        "SELECT datname, substr(shobj_description(oid, 'pg_database'), length(%(mark)s) + 1),"
        " pg_database_size(oid) FROM pg_database"
        " WHERE starts_with(shobj_description(oid, 'pg_database'), %(mark)s)"
        " AND EXISTS (SELECT FROM unnest(%(prefixes)s::text[]) AS p WHERE starts_with(datname, p))"
        " AND pg_get_userbyid(datdba) = current_user ORDER BY 2",
        {"mark": mark, "prefixes": prefixes},
    ).fetchall()
    found = []
    for name, since, size in rows:
        with suppress(ValueError):  # somebody changed the mark, so it is not ours any more
            found.append(Kept(name, datetime.fromisoformat(since), size))
    return found


def expire(now: datetime, endpoint: Endpoint | None = None) -> list[str]:
    """Drop what was kept for long enough; return its names.

    Also what no restore knows any more, after as long. One that cannot be dropped now is tried
    again the next time. Raises ServerError when the server cannot be reached.
    """
    live = endpoint or Endpoint.of(OWNER)
    due = {row.kept_database: row for row in Restore.objects.expired(now)}
    known = set(Restore.objects.kept().values_list("kept_database", flat=True))
    oldest = now - timedelta(days=settings.RESTORE_KEEP_DAYS)
    dropped = []
    with closing(live.at(MAINTENANCE_DATABASE).connect(application_name="srvc keep")) as session:
        for each in kept_databases(session, live.database):
            unknown = each.name not in known and each.since < oldest
            if (each.name in due or unknown) and _drop(session, each.name):
                dropped.append(each.name)
        for row in due.values():
            if not server.database_exists(session, row.kept_database):
                _record(row)
    return dropped


def drop(restore: Restore) -> None:
    """Drop what a restore keeps before its time. Raises RestoreError when that fails."""
    live = Endpoint.of(OWNER)
    name = restore.kept_database
    with closing(live.at(MAINTENANCE_DATABASE).connect(application_name="srvc keep")) as session:
        if name not in {each.name for each in kept_databases(session, live.database)}:
            raise RefusedError(
                f"{name or 'The former database'} is not there, or not marked as kept by SRVC. "
                "Nothing was dropped."
            )
        if not _drop(session, name):
            raise RestoreError(f"{name} is in use and was not dropped. Run this again later.")
    _record(restore)


@contextmanager
def opened(session: Connection, name: str) -> Iterator[None]:
    """Let a kept database be entered for the block, and by nobody afterwards if it fails.

    `session` is the owner's on the maintenance database. Raises RefusedError.
    """
    closed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
    try:
        session.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name))
        )
    except psycopg.Error as error:
        raise RefusedError(
            f"{name} can't be entered: {one_line(error)}. The live database was not touched."
        ) from None
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            session.execute(closed)
        raise


def _drop(session: Connection, name: str) -> bool:
    try:
        server.drop_database(session, name, end_sessions=True)
    except psycopg.Error:
        return False
    return True


def _record(row: Restore) -> None:
    row.dropped_at = timezone.now()
    Restore.objects.filter(pk=row.pk, dropped_at__isnull=True).update(dropped_at=row.dropped_at)
