"""Whether a connection reaches PostgreSQL itself, or a connection pooler. Decided here alone.

At sign-in libpq learns the process that will serve it. A pooler signs in for its clients and makes
that number up: PgBouncer by chance, Supavisor counts from one. So it differs from what
`pg_backend_pid()` says, in every pooling mode. Where a small number happens to agree, the serving
process is usually older than the connection, which no direct one is.

Work of the owner, of replication and of an administrator needs the session: advisory locks that
die with their holder, `SET`, temporary tables, pg_dump, pg_receivewal. Behind a pooler these reach
whoever uses the server's session next. In which mode a pooler works can't be asked, so any is
refused (docs/poolers.md, ADR 25).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from ops.postgres import roles
from ops.postgres.errors import PoolerError

DIRECT_URL = "DATABASE_DIRECT_URL"
# Between two looks at two clocks; what waits in a pool has usually waited for longer.
_SLACK = 5.0  # seconds
_SERVING = """
    SELECT pg_catalog.pg_backend_pid(), (
        SELECT extract(epoch FROM pg_catalog.clock_timestamp() - backend_start)::float8
        FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid())
"""
# PostgreSQL never says so; PgBouncer does of options, of replication and of what it can't keep.
_POOLERS_WORDS = ("unsupported startup parameter", "pgbouncer", "server_login_retry")
_VARIABLES = {roles.OWNER: DIRECT_URL, roles.REPLICATION: "DATABASE_REPLICATION_URL"}

Connection = psycopg.Connection[Any]


def is_pooled(connection: Connection, *, since: float | None = None) -> bool:
    """Tell whether a pooler stands in between. Raises psycopg.Error.

    `since` is when the connection was begun, by time.monotonic(). A connection for replication
    takes no such question: see `is_pooled_replication`.
    """
    idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_SERVING, prepare=False).fetchone()
    if idle and not connection.autocommit:
        connection.rollback()
    assert row is not None
    pid, age = row
    if pid != connection.info.backend_pid:
        return True
    return since is not None and age is not None and age > time.monotonic() - since + _SLACK


def is_pooled_replication(replication: Connection, owner: Connection) -> bool:
    """Tell it of a connection for replication, by what the owner sees on the server.

    A standby has processes of its own, which the owner can't see: nothing is said against it.
    """
    if replication.info.parameter_status("in_hot_standby") == "on":
        return False
    row = owner.execute(
        "SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s AND backend_type = 'walsender'",
        [replication.info.backend_pid],
    ).fetchone()
    return row is None


def require_direct(
    connection: Connection, user: str, place: str, *, since: float | None = None
) -> None:
    """Raise PoolerError when a pooler stands in between, and hang up."""
    try:
        pooled = is_pooled(connection, since=since)
    except BaseException:
        connection.close()
        raise
    if pooled:
        connection.close()
        raise refusal(user, place)


def is_word_of_a_pooler(said: str) -> bool:
    """Tell whether a refused sign-in was refused in words that only a pooler has."""
    return any(words in said for words in _POOLERS_WORDS)


def refusal(user: str, place: str) -> PoolerError:
    """Return why work of this login does not begin, and what to do."""
    variable = _VARIABLES.get(user.partition(".")[0], "DATABASE_ADMIN_URL")
    beside = ", beside DATABASE_OWNER_URL," if variable == DIRECT_URL else ""
    return PoolerError(
        f"{user} reaches {place} through a connection pooler: the process that answers is not the "
        "one it signed in to. Nothing was done, and no data was touched. Behind a pooler locks "
        "outlive their holders and settings reach other sessions, so backups, restores and "
        f"migrations are not safe. Set {variable}{beside} to the address of PostgreSQL itself "
        "(docs/poolers.md)."
    )


# --- what a pooler hands on ----------------------------------------------------------------------

_MARK = "srvc.pooler_probe"
_TRIES = 5


def hands_on_sessions(connect: Callable[[], Connection]) -> bool | None:
    """Tell whether a pooler gives one client the session of another as that one left it.

    `connect` makes a connection in autocommit mode. None when it could not be seen: there is no
    pooler, or no two clients met on one session of the server. Nothing but a mark is left in a
    session, and it is removed again when it is seen. Raises psycopg.Error.
    """
    met = False
    for _ in range(_TRIES):
        mark = secrets.token_hex(8)
        # One after the other: at the same time they would wait for each other in a pool of one.
        with closing(connect()) as first:
            if not is_pooled(first):
                return None
            left, _ = _ask(first, f"set_config('{_MARK}', '{mark}', false)")
        with closing(connect()) as second:
            found, seen = _ask(second, f"current_setting('{_MARK}', true)")
            if seen == mark:
                with suppress(psycopg.Error):
                    second.execute(f"RESET {_MARK}".encode())
                return True
        met = met or found == left
    return False if met else None


def _ask(connection: Connection, what: str) -> Sequence[Any]:
    """Return the process that serves the question, and its answer."""
    query = f"SELECT pg_catalog.pg_backend_pid(), {what}"
    row = connection.execute(query.encode(), prepare=False).fetchone()
    assert row is not None
    return tuple(row)
