"""One backup of a kind at a time: a lock in the database, which dies with its holder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from ops.backups.errors import BusyError
from ops.liveness import living, process_is_gone
from ops.models import BackupKind, Run, RunKind, RunStatus
from ops.postgres.endpoint import Connection, Endpoint
from ops.runs import OWNER, close_dead_runs

# The lock lasts as long as its session, which says nothing while the backup is taken. Neither a
# firewall nor the server may take it for idle.
KEPT_ALIVE = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
_NOTICED = 5.0  # seconds until a server has noticed that a killed process is gone
_CLASS = 0x53525643  # "SRVC", so that no other application's advisory lock is taken for ours
# A base and an incremental backup extend the same chain, so they share a lock.
_SLOTS = {
    BackupKind.FULL: 1,
    BackupKind.SCHEMA: 2,
    BackupKind.DATA: 3,
    BackupKind.TABLES: 4,
    BackupKind.BASE: 5,
    BackupKind.INCREMENTAL: 5,
    BackupKind.MEDIA: 6,
}


@contextmanager
def one_at_a_time(kind: str, run: Run) -> Iterator[Connection]:
    """Hold the lock of this kind of backup for a run.

    Raises BusyError, which says who holds it. Runs of the kind whose process died are ended here.
    """
    name = f"srvc backup {kind}"
    with Endpoint.of(OWNER).connect(application_name=name, **KEPT_ALIVE) as connection:
        connection.execute("SET idle_session_timeout = 0")
        if not taken(connection, _CLASS, _SLOTS[BackupKind(kind)], lambda: _others(kind, run)):
            raise BusyError(_who(kind, run))
        with given_back(connection):
            close_dead_runs(_others(kind, run))
            yield connection


@contextmanager
def given_back(connection: Connection) -> Iterator[None]:
    """Give a session's advisory locks back in the end, before it hangs up.

    The server notices a hang-up when it comes to it. Until then the next one would be refused.
    """
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # the session may be over, and its locks with it
            connection.execute("SELECT pg_advisory_unlock_all()")


def taken(
    connection: Connection, of_what: int, which: int, others: Callable[[], Iterable[Run]]
) -> bool:
    """Take an advisory lock, if nobody has it; whether it is ours now.

    `others` are the runs that could have it. If all of these were killed, the server is about to
    notice that their sessions are over, which is waited for, a few seconds at most.
    """
    deadline = time.monotonic() + _NOTICED
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [of_what, which]).fetchone()
        if row is not None and row[0]:
            return True
        holders = list(others())
        if (
            not holders
            or not all(process_is_gone(run) for run in holders)
            or time.monotonic() > deadline
        ):
            return False
        time.sleep(0.1)


def _others(kind: str, run: Run) -> Any:
    same = [other for other in _SLOTS if _SLOTS[other] == _SLOTS[BackupKind(kind)]]
    return Run.objects.filter(
        kind=RunKind.BACKUP, status=RunStatus.RUNNING, arguments__kind__in=same
    ).exclude(pk=run.pk)


def _who(kind: str, asking: Run) -> str:
    run = living(_others(kind, asking)).newest_first().first()
    label = BackupKind(kind).label.lower()
    if run is None:
        also = ", or uploaded files are being restored" if kind == BackupKind.MEDIA else ""
        return f"Another {label} backup is being taken{also}. Nothing was done. Wait for it to end."
    share = f", {min(99, run.done * 100 // run.total)} % done" if run.total else ""
    return (
        f"Another {label} backup is being taken since {run.started_at:%H:%M:%S} UTC by "
        f"{run.asked_by} ({run.via}) on {run.host}, process {run.process}{share}. Nothing was "
        f"done. Wait for it to end, or cancel it: manage.py backups cancel {run.pk}"
    )
