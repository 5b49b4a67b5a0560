"""A database beside the live one, on the same server, that the owner's login makes and drops.

What is made here is thrown away by whoever made it, unless it took a name of its own; what a killed
process left goes with the next restore, which holds the lock and so knows that nobody works on it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import psycopg
from psycopg import sql

from ops.backups.fingerprint import database_properties
from ops.backups.recreate import create_database
from ops.errors import OpsError
from ops.postgres import server
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ServerError, one_line
from ops.postgres.roles import MAINTENANCE_DATABASE, template_of
from ops.restores.complete.administrator import administrator
from ops.restores.errors import RestoreError

LONGEST_NAME = 63  # bytes; PostgreSQL cuts off what is longer
# By this a database beside is told from one that somebody happened to call so.
MARK = "srvc restore"
_log = logging.getLogger(__name__)


def name_beside(live: str, word: str, mark: str | int) -> str:
    """Return `LIVE_WORD_MARK`, the beginning cut off where PostgreSQL would cut the end."""
    suffix = f"_{word}_{mark}"
    room = LONGEST_NAME - len(suffix.encode())
    return live.encode()[:room].decode(errors="ignore") + suffix


# --- the database ----------------------------------------------------------------------------


@contextmanager
def database_beside(
    session: Connection, live: Endpoint, name: str, *, from_template: bool = True
) -> Iterator[Endpoint]:
    """Make an empty database beside, and drop it again unless the block ends well.

    `session` is the owner's, on another database of the server. Without `from_template` it has no
    extension that provisioning makes. Raises RestoreError.
    """
    _create(session, live, name, from_template=from_template)
    try:
        yield live.at(name)
    except BaseException as error:
        if left := _drop(session, live.at(name)):
            _log.error("%s", left)
            if isinstance(error, OpsError):
                error.args = (f"{error} {left}",)
        raise


def remove_left_overs(session: Connection, live: Endpoint, begun: Sequence[str] = ()) -> list[str]:
    """Drop what killed restores left; called by who holds the lock.

    `begun` are names that restores recorded before they made anything: whoever was killed within
    that moment left a database without a mark. Returns what could not be dropped, in sentences.
    """
    rows = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        " AND (starts_with(shobj_description(oid, 'pg_database'), %s) OR datname = ANY(%s)"
        "  AND shobj_description(oid, 'pg_database') IS NULL)"
        " AND pg_get_userbyid(datdba) = current_user",
        [name_beside(live.database, "restore", ""), f"{MARK} of {live.database}", list(begun)],
    ).fetchall()
    return [left for (name,) in rows if (left := _drop(session, live.at(name)))]


def _drop(session: Connection, beside: Endpoint) -> str:
    """Drop a database that a restore made; return "" or, in sentences, why it is still there."""
    name = beside.database
    try:
        try:
            server.drop_database(session, name, end_sessions=True)
        except psycopg.Error:
            # A subscription in it, which a migration or a hand may have made; or a session of the
            # administrator's, who restored it, and which only a superuser may end.
            _drop_thoroughly(session, beside, administrator())
    except (psycopg.Error, ServerError) as error:
        return (
            f"The database {name}, which was made for it, could not be dropped: "
            f"{one_line(error)}. Drop it by hand: DROP DATABASE {name} WITH (FORCE)"
        )
    return ""


def _drop_thoroughly(session: Connection, beside: Endpoint, admin: Endpoint | None) -> None:
    """Drop a database with its subscriptions; slots on other servers stay as they are."""
    rows = session.execute(
        "SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        " WHERE d.datname = %s",
        [beside.database],
    ).fetchall()
    if rows:
        _drop_subscriptions(admin.at(beside.database) if admin else beside, rows)
    if admin is None:
        server.drop_database(session, beside.database, end_sessions=True)
        return
    with closing(admin.at(MAINTENANCE_DATABASE).connect()) as connection:
        server.drop_database(connection, beside.database, end_sessions=True)


def _drop_subscriptions(place: Endpoint, names: list[tuple[str]]) -> None:
    with closing(place.connect()) as connection:
        for subscription in (sql.Identifier(name) for (name,) in names):
            for statement in (
                "ALTER SUBSCRIPTION {} DISABLE",
                "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                "DROP SUBSCRIPTION {}",
            ):
                connection.execute(sql.SQL(statement).format(subscription))


def _create(session: Connection, live: Endpoint, name: str, *, from_template: bool) -> None:
    template = template_of(live.database)
    try:
        if from_template and server.database_exists(session, template):
            server.create_from_template(session, name, template, owner=live.user)
        else:
            _create_empty(session, live, name)
        session.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name), sql.Literal(f"{MARK} of {live.database}, not complete")
            )
        )
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            server.drop_database(session, name, end_sessions=True)
        raise RestoreError(
            f"A database could not be made beside {live.database}: {one_line(error)}. Nothing was "
            "changed. `manage.py provision` gives the owner's login what it needs for that."
        ) from None


def _create_empty(session: Connection, live: Endpoint, name: str) -> None:
    """Make a database of nothing but PostgreSQL's own, with the live one's encoding and locale."""
    with closing(live.connect()) as connection:
        create_database(session, name, database_properties(connection))
    session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
