"""Writes are closed while a restore would lose them: no work goes into a database about to go.

An advisory lock on the live database, held by a session of its own. It dies with this process, so
nothing stays closed by accident. Reading goes on; see ops/rls/closed.py for the other side.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg

from ops.backups.lock import KEPT_ALIVE
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.rls.closed import LAST_TO_GO, LOCK_CLASS, WRITES
from ops.runs import OWNER

PATIENCE = 60.0  # seconds that running writes are waited for
_APPLICATION = "srvc closing"
_LOOK_EVERY = 1.0  # seconds

_HOLDERS = """
    SELECT l.pid, coalesce(nullif(a.application_name, ''), a.usename::text, 'unknown'),
        extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::int
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
    WHERE l.granted AND locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 3 DESC NULLS LAST
"""


@contextmanager
def writes_closed(
    reason: str,
    progress: Progress,
    *,
    endpoint: Endpoint | None = None,
    patience: float = PATIENCE,
) -> Iterator[None]:
    """Keep writes closed for the block, once those that are running have ended.

    `reason` is what for, in a few words ("restore 12"); `endpoint` is the owner's on the live
    database. New writes are refused from the beginning. Raises RefusedError, which names who still
    writes after `patience` seconds; then writes are open again.
    """
    place = endpoint or Endpoint.of(OWNER)
    progress.phase("closing writes")
    with closing(
        place.connect(application_name=f"{_APPLICATION}: {reason}"[:63], **KEPT_ALIVE)
    ) as connection:
        connection.execute("SET idle_session_timeout = 0")
        connection.execute("SET statement_timeout = 0")
        _close(connection, progress, patience)
        # A swap ends this session after all others (ops/postgres/swapping.py).
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", [LOCK_CLASS, LAST_TO_GO])
        try:
            yield
        finally:
            _open_again(connection)


def is_closed(endpoint: Endpoint | None = None) -> bool:
    """Whether writes are refused at this moment. Raises ServerError when nobody can be asked."""
    with closing((endpoint or Endpoint.of(OWNER)).connect()) as connection:
        row = connection.execute(
            "SELECT NOT pg_try_advisory_xact_lock_shared(%s, %s)", [LOCK_CLASS, WRITES]
        ).fetchone()
    return bool(row and row[0])


def _close(connection: Connection, progress: Progress, patience: float) -> None:
    deadline = time.monotonic() + patience
    # While it waits, it refuses those that come; between two waits one may slip in, and is waited
    # for like the others.
    connection.execute(f"SET lock_timeout = {int(_LOOK_EVERY * 1000)}")
    while True:
        progress.check()
        try:
            connection.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, WRITES])
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise _refused(connection, patience) from None
        else:
            break
    connection.execute("SET lock_timeout = 0")


def _open_again(connection: Connection) -> None:
    # A closed session gives its locks back a moment later, and whoever writes meanwhile is refused.
    # One that a swap has ended has none.
    with suppress(psycopg.Error):
        connection.execute("SELECT pg_advisory_unlock_all()")


def _refused(connection: Connection, patience: float) -> RefusedError:
    rows = connection.execute(_HOLDERS, [LOCK_CLASS, WRITES]).fetchall()
    holders = [f"process {pid} of the server ({name}, for {age} s)" for pid, name, age in rows]
    if any(name.startswith(_APPLICATION) for _, name, _ in rows):
        return RefusedError(
            f"Writes are closed already, by {holders[0]}. The live database was not touched. Wait "
            "for that restore to end."
        )
    named = ", ".join(holders[:3]) or "somebody"
    more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
    return RefusedError(
        f"Writes could not be closed within {patience:.0f} s: still at work are {named}{more}. The "
        "live database was not touched. Wait for that, or end it, and run this again."
    )
