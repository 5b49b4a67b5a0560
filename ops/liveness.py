"""Whether a run is alive. Decided here alone: by an advisory lock, which dies with its holder.

A run's row says "running" for as long as nobody ends it, also after `kill -9`. So whoever carries
a run out holds a lock of its number, in the session that writes its progress; whoever wants to
know looks at the lock. Only for the moments in which that session is (re)made the row's last sign
of life counts, unless the process is known to be gone.
"""

from __future__ import annotations

import socket
import time
from datetime import datetime, timedelta
from typing import Any

import psutil
from django.db import connections, router
from django.utils import timezone

from ops.models import Run, RunStatus
from ops.postgres.endpoint import Connection

_CLASS = 0x5352564C  # "SRVL", so that no other application's advisory lock is taken for ours
# In a swap, or when the server restarts, the session is made anew and takes the lock again.
GRACE = timedelta(seconds=10)
_NOTICED = 5.0  # seconds until a server has noticed that a killed process is gone
_HELD = """
    SELECT objid::bigint FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = %s AND objsubid = 2
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""


def hold(session: Connection, run: int) -> bool:
    """Hold the lock of a run for as long as the session lasts; whether it is ours."""
    row = session.execute("SELECT pg_try_advisory_lock(%s, %s)", [_CLASS, run]).fetchone()
    return row is not None and bool(row[0])


def is_dead(run: Run, now: datetime | None = None) -> bool:
    """Whether nobody carries out a run any more, although its row says that it is running."""
    return _is_suspect(run, now or timezone.now()) and run.pk not in _held()


def dead(runs: Any) -> list[int]:
    """Return which of these runs nobody carries out any more; waits a moment for the server.

    It may have yet to notice that the session of a process that was killed here is over.
    """
    now, deadline = timezone.now(), time.monotonic() + _NOTICED
    suspects = [run for run in runs.filter(status=RunStatus.RUNNING) if _is_suspect(run, now)]
    while suspects:
        held = _held()
        unnoticed = any(run.pk in held and process_is_gone(run) for run in suspects)
        if not unnoticed or time.monotonic() > deadline:
            return [run.pk for run in suspects if run.pk not in held]
        time.sleep(0.05)
    return []


def living(runs: Any) -> Any:
    """Return those of these runs that wait or are carried out, as a QuerySet."""
    return runs.unfinished().exclude(pk__in=dead(runs))


def process_is_gone(run: Run) -> bool:
    """Tell whether the process of a run on this machine is gone; of another's nobody can know."""
    if run.host != socket.gethostname()[:100] or not run.process or run.started_at is None:
        return False
    try:
        began = float(psutil.Process(run.process).create_time())
    except psutil.NoSuchProcess:
        return True
    # Numbers are used again. A process younger than the run is another one.
    return began > run.started_at.timestamp() + 1


def _is_suspect(run: Run, now: datetime) -> bool:
    """Whether the lock has to be asked: a fresh sign of life needs no look."""
    if run.status != RunStatus.RUNNING:
        return False
    is_fresh = run.seen_at is not None and run.seen_at >= now - GRACE
    return not is_fresh or process_is_gone(run)


def _held() -> set[int]:
    with connections[router.db_for_read(Run)].cursor() as cursor:
        cursor.execute(_HELD, [_CLASS])
        return {number for (number,) in cursor.fetchall()}
