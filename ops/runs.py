"""Recording operations: who asked, how far it is, whether to stop, how it ended.

A run's row is what the admin shows live. While the work is busy elsewhere, a thread of its own
writes progress and reads whether somebody asked to stop, through its own connection.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import Error, connections
from django.db.models import Q
from django.utils import timezone

from ops import liveness
from ops.errors import OpsError
from ops.models import Backup, Drill, DrillVerdict, Run, RunKind, RunStatus
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import CancelledError, Counter

log = logging.getLogger(__name__)
OWNER = "owner"
_EVERY = 0.5  # seconds between two lines of progress


@dataclass(frozen=True)
class Asker:
    """Who asked for an operation, and through what."""

    name: str
    via: str
    user_id: int | None = None

    @classmethod
    def of_command(cls) -> Asker:
        """The system's user who runs this command; cron has no terminal."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = str(os.getuid())
        via = "command" if sys.stdin is not None and sys.stdin.isatty() else "cron or script"
        return cls(f"{user}@{socket.gethostname()}"[:254], via)


_CHANGES_LIVE_DATA = (RunKind.RESTORE, RunKind.RECOVER, RunKind.UNDO, RunKind.IMPORT)


def needs_approval(kind: str, arguments: dict[str, Any]) -> bool:
    """Whether settings want a second person's yes for it: looking alone needs none."""
    return bool(
        settings.RESTORE_TWO_PERSONS
        and kind in _CHANGES_LIVE_DATA
        and not arguments.get("dry_run", False)
    )


def ask(
    kind: str,
    subject: str,
    *,
    by: Asker,
    arguments: dict[str, Any] | None = None,
    backup: Any = None,
) -> Run:
    """Record that an operation was asked for; `running` carries it out, here or in the worker."""
    arguments = arguments or {}
    awaits = needs_approval(kind, arguments)
    return Run.objects.create(
        kind=kind,
        subject=subject[:250],
        arguments=arguments,
        status=RunStatus.AWAITING if awaits else RunStatus.QUEUED,
        asked_by=by.name,
        asked_by_user_id=by.user_id,
        via=by.via,
        backup=backup,
    )


def record(kind: str, subject: str, *, by: Asker, message: str, backup: Any = None) -> Run:
    """Record what was done in one step, such as a download or a pin."""
    now = timezone.now()
    return Run.objects.create(
        kind=kind,
        subject=subject[:250],
        status=RunStatus.DONE,
        message=message,
        asked_by=by.name,
        asked_by_user_id=by.user_id,
        via=by.via,
        backup=backup,
        started_at=now,
        finished_at=now,
    )


class RunProgress(Counter):
    """Progress that is written into the run's row."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.message = ""
        self.result: dict[str, Any] = {}  # what its page shows of the outcome
        self.backup: Backup | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, name="run-progress", daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        """Keep a sentence as what became of the run."""
        self.message = f"{self.message} {sentence}".strip()

    def stop(self) -> None:
        """Write no more."""
        self._ended.set()
        self._thread.join(timeout=30)

    def _report(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(Endpoint.of(OWNER).connect(application_name="srvc run")) as connection:
                    holds = liveness.hold(connection, self.run.pk)
                    while not self._ended.wait(_EVERY):
                        self._write(connection)
                        holds = holds or liveness.hold(connection, self.run.pk)
            except Exception:
                # The server may be restarting; the work itself will notice if it does not return.
                log.debug("run %s: progress could not be written", self.run.pk, exc_info=True)
                self._ended.wait(_EVERY)

    def _write(self, connection: Connection) -> None:
        row = connection.execute(
            "UPDATE ops_run SET phase = %s, done = %s, total = %s, unit = %s, seen_at = now()"
            " WHERE id = %s AND status = 'running' RETURNING cancel_asked_at IS NOT NULL",
            [self.name[:200], self.done, self.total, self.unit, self.run.pk],
        ).fetchone()
        if row is not None and row[0]:
            self.cancel()


@contextmanager
def running(run: Run) -> Iterator[RunProgress]:
    """Carry out a run: it is running within the block, and ended after it, however that ends.

    Runs whose process died are ended first. Raises CancelledError when somebody cancelled it while
    it was waiting, and OpsError when it is running or has ended already.
    """
    close_dead_runs()
    started = Run.objects.filter(
        pk=run.pk, status=RunStatus.QUEUED, cancel_asked_at__isnull=True
    ).update(
        status=RunStatus.RUNNING,
        started_at=timezone.now(),
        seen_at=timezone.now(),
        host=socket.gethostname()[:100],
        process=os.getpid(),
    )
    if not started:
        _end_unstarted(run)
    progress = RunProgress(run)
    try:
        yield progress
    except CancelledError as error:
        progress.stop()
        _end(run, RunStatus.CANCELLED, str(error))
        raise
    except OpsError as error:
        progress.stop()
        _end(run, RunStatus.FAILED, str(error), progress)
        raise
    except Exception:
        progress.stop()
        _end(run, RunStatus.FAILED, "It crashed; the log says where. Nothing of it was kept.")
        raise
    except BaseException:
        progress.stop()
        _end(run, RunStatus.CANCELLED, "It was interrupted. Nothing of it was kept.")
        raise
    else:
        progress.stop()
        _end(run, RunStatus.DONE, progress.message, progress)


def refresh_connection() -> None:
    """Let the next query open a connection: one that was idle for hours may be gone."""
    connection = connections[OWNER]
    if not connection.in_atomic_block:
        connection.close()


def ask_to_cancel(run: Run, *, by: str) -> bool:
    """Ask a run to stop, which it does at its next step; whether somebody is there to do so.

    One whose process died is ended here, where the login may. Raises OpsError when it has ended
    already.
    """
    if _end_awaiting(run, by=by):
        return True
    if liveness.is_dead(run):
        close_dead_runs(Run.objects.filter(pk=run.pk))
        return False
    asked = (
        Run.objects.unfinished()
        .filter(pk=run.pk, cancel_asked_at__isnull=True)
        .update(cancel_asked_at=timezone.now(), cancel_asked_by=by)
    )
    if not asked and not Run.objects.unfinished().filter(pk=run.pk).exists():
        raise OpsError(f"{run} has ended already. Nothing was changed.")
    return True


def _end_awaiting(run: Run, *, by: str) -> bool:
    """End a run that nobody approved yet: nobody is at work who could be asked to stop."""
    now = timezone.now()
    return bool(
        Run.objects.filter(pk=run.pk, status=RunStatus.AWAITING).update(
            status=RunStatus.CANCELLED,
            message="It was cancelled before anybody approved it.",
            cancel_asked_at=now,
            cancel_asked_by=by,
            finished_at=now,
        )
    )


def close_dead_runs(runs: Any = None) -> int:
    """End the runs, of these or of all, whose process died without a word; returns how many."""
    gone = Run.objects.running().filter(
        pk__in=liveness.dead(Run.objects.all() if runs is None else runs)
    )
    number: int = 0
    live, export = Q(kind__in=_CHANGES_LIVE_DATA), Q(kind=RunKind.EXPORT)
    uploads = live & (Q(arguments__media=True) | Q(arguments__has_key="uploads"))
    Drill.objects.filter(run__in=list(gone), verdict=DrillVerdict.RUNNING).update(
        verdict=DrillVerdict.ABORTED, finished_at=timezone.now(), note=DRILL_DIED
    )
    for those, left in (
        (gone.filter(uploads), UPLOADS_ARE_WHOLE),
        (gone.filter(live), LIVE_IS_WHOLE),
        (gone.filter(export), NO_ARCHIVE),
        (gone.exclude(live | export), NO_BACKUP),
    ):
        number += those.update(
            status=RunStatus.FAILED,
            finished_at=timezone.now(),
            message=f"Its process died without a word (killed, or the machine stopped). {left}",
        )
    return number


def tidy(now: datetime) -> int:
    """End dead runs where nothing is begun that would (settings.WATCHER_TIDIES)."""
    return close_dead_runs()


DRILL_DIED = "Its process died without a word. What it had restored is gone or goes with the next."
# What a process that died leaves behind, by what it was at.
LIVE_IS_WHOLE = (
    "The live database is whole: rows come back all or not at all, and so does a database. What it "
    "had begun beside is removed by the next one."
)
NO_BACKUP = (
    "Nothing that looks like a backup was left; what it had begun is removed by backups --prune."
)

UPLOADS_ARE_WHOLE = (
    "Each uploaded file is whole, of before or of the backup. Run it again to go on, or `manage.py "
    "restore --media --undo` to have the former files back."
)
NO_ARCHIVE = "No archive was left, and the account is as it was: an export only reads."


def left_behind(run: Run) -> str:
    """What a run leaves when its process dies."""
    kind = run.kind
    if kind == RunKind.EXPORT:
        return NO_ARCHIVE
    if kind in _CHANGES_LIVE_DATA and (run.arguments.get("media") or "uploads" in run.arguments):
        return UPLOADS_ARE_WHOLE
    return LIVE_IS_WHOLE if kind in _CHANGES_LIVE_DATA else NO_BACKUP


def _end_unstarted(run: Run) -> None:
    if Run.objects.filter(pk=run.pk, status=RunStatus.AWAITING).exists():
        raise OpsError(f"{run} awaits the approval of a second administrator. Nothing was done.")
    waiting = Run.objects.filter(pk=run.pk, status=RunStatus.QUEUED)
    if not waiting.update(
        status=RunStatus.CANCELLED,
        message="It was cancelled before it began.",
        finished_at=timezone.now(),
    ):
        raise OpsError(f"{run} is running or has ended already. Nothing was done.")
    raise CancelledError(f"{run} was cancelled before it began. Nothing was done.")


def _end(run: Run, status: str, message: str, progress: RunProgress | None = None) -> None:
    values: dict[str, Any] = {"status": status, "message": message, "finished_at": timezone.now()}
    if progress is not None:
        values |= {"done": progress.done, "total": progress.total, "unit": progress.unit}
        if progress.result:
            values["result"] = progress.result
        if progress.backup is not None:
            values |= {"backup": progress.backup, "subject": str(progress.backup)[:250]}
    # The server may be what failed; then the row is ended by close_dead_runs. Whoever buried a
    # run that was merely slow to give a sign is corrected here.
    with suppress(Error):
        refresh_connection()
        Run.objects.filter(pk=run.pk).update(**values)
