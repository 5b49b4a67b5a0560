"""One restore, or one way back, of a database at a time: a lock that dies with its holder.

It is held in the maintenance database: sessions of the live one are ended when it is swapped.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ops.backups.errors import BusyError
from ops.backups.lock import KEPT_ALIVE, given_back, taken
from ops.liveness import living
from ops.models import Run, RunKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE

_CLASS = 0x53525652  # "SRVR"
_KINDS = (RunKind.RESTORE, RunKind.UNDO)


@contextmanager
def one_restore_at_a_time(live: Endpoint, run: Run | None = None) -> Iterator[Connection]:
    """Hold the lock of a database; yields the session that holds it, on the maintenance database.

    `run` is who asks, None where no catalogue is. Raises BusyError, which says who holds it.
    """
    place = live.at(MAINTENANCE_DATABASE)
    with place.connect(application_name=f"srvc restore {live.database}", **KEPT_ALIVE) as session:
        session.execute("SET idle_session_timeout = 0")
        if not taken(session, _CLASS, _number(live.database), lambda: _others(run)):
            raise BusyError(_who(live.database, run))
        with given_back(session):
            yield session


def _number(database: str) -> int:
    """Databases of one server have locks of their own."""
    unsigned = zlib.crc32(database.encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def _others(asking: Run | None) -> Any:
    """Return the runs that could have the lock, newest first; none where no catalogue is."""
    if asking is None:
        return []
    busy = Run.objects.running().filter(kind__in=_KINDS).exclude(pk=asking.pk)
    return busy.newest_first()


def _who(database: str, asking: Run | None) -> str:
    others = _others(asking)
    run = living(others).first() if others else None
    if run is None or run.started_at is None:
        return f"{database} is being restored already. Nothing was done. Wait for that to end."
    return (
        f"{database} is being restored already: {run} was begun at {run.started_at:%H:%M:%S} UTC "
        f"by {run.asked_by} ({run.via}) on {run.host}, process {run.process}. Nothing was done. "
        f"Wait for it to end, or cancel it: manage.py backups cancel {run.pk}"
    )
