"""A database that was restored beside takes the live one's place.

Clients are disconnected for a moment and find the new one under the old name; the old one is kept
under another, closed to connections. Killed at any point, the live database is whole and open.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime

import psycopg
from django.db import connections

from ops.backups.lock import KEPT_ALIVE
from ops.errors import OpsError
from ops.postgres import swapping
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ServerError, one_line
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.progress import Progress
from ops.restores.complete.beside import MARK
from ops.restores.complete.carrying import carried
from ops.restores.complete.properties import adopt_properties
from ops.restores.errors import RestoreError
from ops.rls.closed import LAST_TO_GO, LOCK_CLASS, WRITES
from ops.runs import OWNER

SECONDS = 10.0  # for sessions to end; the clients wait as long
GUARD = (LOCK_CLASS, WRITES, LAST_TO_GO)


def take_the_place(
    live: str,
    beside: str,
    keep_as: str,
    *,
    endpoint: Endpoint,
    progress: Progress,
    record: Callable[[Connection], object],
) -> list[str]:
    """Carry the catalogue of operations along, and swap. Writes have to be closed.

    `record` writes into the database beside what will be true once it is the live one: the two
    become so together. Returns what of the live database's settings the server did not let us
    take over. Raises RestoreError; then nothing has changed.
    """
    with carried(live, beside, endpoint, progress, record):
        progress.check()
        progress.phase("swapping")
        return swap(live, beside, keep_as, endpoint=endpoint)


def swap(
    live: str, beside: str, keep_as: str, *, endpoint: Endpoint, guarded: bool = True
) -> list[str]:
    """Rename `live` to `keep_as` and `beside` to `live`, in one transaction of the server.

    `endpoint` is the owner's. Returns what of the live database's grants and settings could not be
    taken over, in sentences. Unless `guarded` is False, writes have to be closed (closing.py).
    Raises RestoreError; then the live database is as it was, and open.
    """
    place = endpoint.at(MAINTENANCE_DATABASE)
    try:
        with closing(place.connect(application_name="srvc swap", **KEPT_ALIVE)) as connection:
            _require_no_obstacle(connection, live, beside)
            refused = adopt_properties(connection, live, beside, known_as=live)
            swapping.exchange(
                connection,
                live,
                beside,
                keep_as,
                kept_mark=kept_mark(live) + datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=SECONDS,
                guard=GUARD if guarded else None,
            )
    except (ServerError, psycopg.Error) as error:
        reason = str(error) if isinstance(error, ServerError) else one_line(error)
        raise RestoreError(
            f"{beside} did not take the place of {live}: {reason.rstrip('.')}. {live} is as it was,"
            " and what users wrote is in it. Run this again when that is mended."
        ) from None
    finally:
        _leave(endpoint.at(live))
    return refused


def kept_mark(live: str) -> str:
    """Return how the comment on a kept database begins; the time since when it is kept follows."""
    return f"{MARK} of {live}, kept since "


def reopen_if_closed(endpoint: Endpoint | None = None) -> bool:
    """Open the live database when a crash of the server in the middle of a swap left it closed.

    Returns whether it was so. Raises ServerError when the server cannot be reached.
    """
    endpoint = endpoint or Endpoint.of(OWNER)
    place = endpoint.at(MAINTENANCE_DATABASE)
    with closing(place.connect(application_name="srvc reopen")) as connection:
        return swapping.reopen(connection, endpoint.database)


def _leave(live: Endpoint) -> None:
    """Forget connections that led to the former database, and see that there is a way in."""
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()
    with suppress(OpsError, psycopg.Error):
        reopen_if_closed(live)


def _require_no_obstacle(connection: Connection, live: str, beside: str) -> None:
    if found := swapping.obstacles(connection, live, beside):
        raise ServerError("; ".join(found))
