"""One backup of a kind at a time: a lock in the database, which dies with its holder."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from django.utils import timezone

from ops.backups.errors import BusyError
from ops.models import BackupKind, Run, RunKind, RunStatus
from ops.postgres.endpoint import Connection, Endpoint
from ops.runs import OWNER, bury

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
        deadline = time.monotonic() + _NOTICED
        while not _is_taken(connection, kind):
            if not _is_held_by_the_dead(kind, run) or time.monotonic() > deadline:
                raise BusyError(_who(kind, run))
            time.sleep(0.1)
        bury(_others(kind, run).filter(pk__in=_dead(kind, run)))
        yield connection


def _is_taken(connection: Connection, kind: str) -> bool:
    """Take the lock, if nobody has it."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, %s)", [_CLASS, _SLOTS[BackupKind(kind)]]
    ).fetchone()
    return row is not None and bool(row[0])


def _is_held_by_the_dead(kind: str, asking: Run) -> bool:
    """Tell whether all who could have the lock were killed: the server is about to notice."""
    others = list(_others(kind, asking))
    return bool(others) and all(_is_gone(run) for run in others)


def _dead(kind: str, asking: Run) -> list[int]:
    """Return the runs that nobody carries out any more.

    Not all that say they are running: one that began this moment is about to meet the lock.
    """
    silent = set(Run.objects.silent(timezone.now()).values_list("pk", flat=True))
    return [run.pk for run in _others(kind, asking) if run.pk in silent or _is_gone(run)]


def _is_gone(run: Run) -> bool:
    """Tell whether the process of a run on this machine is gone; of another's nobody can know."""
    if run.host != socket.gethostname()[:100] or not run.process or run.started_at is None:
        return False
    try:
        began = float(psutil.Process(run.process).create_time())
    except psutil.NoSuchProcess:
        return True
    # Numbers are used again. A process younger than the run is another one.
    return began > run.started_at.timestamp() + 1


def _others(kind: str, run: Run) -> Any:
    same = [other for other in _SLOTS if _SLOTS[other] == _SLOTS[BackupKind(kind)]]
    return Run.objects.filter(
        kind=RunKind.BACKUP, status=RunStatus.RUNNING, arguments__kind__in=same
    ).exclude(pk=run.pk)


def _who(kind: str, asking: Run) -> str:
    run = _others(kind, asking).newest_first().first()
    label = BackupKind(kind).label.lower()
    if run is None:
        return f"Another {label} backup is being taken. Nothing was done. Wait for it to end."
    share = f", {min(99, run.done * 100 // run.total)} % done" if run.total else ""
    return (
        f"Another {label} backup is being taken since {run.started_at:%H:%M:%S} UTC by "
        f"{run.asked_by} ({run.via}) on {run.host}, process {run.process}{share}. Nothing was "
        f"done. Wait for it to end, or cancel it: manage.py backups cancel {run.pk}"
    )
