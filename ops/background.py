"""The worker's part: what a page asked for, carried out as the owner's login.

The page records a run and queues it; the run's row is all that the two share. It says how far the
work is, takes the wish to stop, and keeps how it ended, whoever still looks.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone
from django_tasks import task

from ops.backups.errors import BackupError
from ops.errors import OpsError
from ops.models import Run, RunKind, RunStatus
from ops.progress import Counter, Progress
from ops.restores import approval
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, close_dead_runs, running
from ops.tasks import enqueue_as

log = logging.getLogger(__name__)

# A worker of its own serves it: an hour's backup must not keep customers' imports waiting.
QUEUE = "operations"

# Who may ask for it, and who may stop it.
RIGHTS = {
    RunKind.BACKUP: "ops.take_backup",
    RunKind.VERIFY: "ops.verify_backup",
    RunKind.PROVE: "ops.verify_backup",
    RunKind.COPY: "ops.take_backup",
    RunKind.REBUILD: "ops.take_backup",
    RunKind.DELETE: "ops.delete_backup",
    RunKind.PRUNE: "ops.delete_backup",
    RunKind.PIN: "ops.pin_backup",
    RunKind.DOWNLOAD: "ops.download_backup",
    RunKind.RESTORE: "ops.run_restore",
    RunKind.RESTORE_POINT: "ops.run_restore",
    RunKind.RECOVER: "ops.run_recovery",
    RunKind.UNDO: "ops.run_restore",
    RunKind.EXPORT: "ops.export_account",
    RunKind.IMPORT: "ops.import_account",
    RunKind.DRILL: "ops.run_drill",
    RunKind.HEALTH: "ops.run_health",
    RunKind.SIGNAL: "ops.signal_session",  # recorded when it is done; nothing to carry out
}


def may(user: Any, kind: str) -> bool:
    """Whether a user may ask for this kind of run; only platform administrators may any."""
    return bool(
        getattr(user, "is_platform_administrator", False) and user.has_perm(RIGHTS[RunKind(kind)])
    )


def right_on(run: Run) -> str:
    """The permission that a run asks for; taking back rows asks for what putting them in does."""
    if run.kind == RunKind.UNDO and "recovery" in run.arguments:
        return RIGHTS[RunKind.RECOVER]
    return RIGHTS[RunKind(run.kind)]


def may_have(user: Any, run: Run) -> bool:
    """Whether a user may ask for this very run, and stop it."""
    return bool(getattr(user, "is_platform_administrator", False) and user.has_perm(right_on(run)))


def queue(run: Run, *, by: Any) -> None:
    """Hand a run to the worker, which sees it once the transaction commits."""
    enqueue_as(by, carry_out, run_id=run.pk)


@task(queue_name=QUEUE)
def carry_out(user_id: int, run_id: int) -> None:
    """Do what a run asks for, and let the run say how it went."""
    with as_owner_by_default():
        close_dead_runs()
        run = Run.objects.select_related("backup").get(pk=run_id)
        if run.status == RunStatus.AWAITING:
            log.warning("%s (run %s) was queued before it was approved", run, run.pk)
            return
        try:
            _require_right(user_id, run)
            approval.require(run)
            with _stopped_with_the_worker() as progress:
                _WORK[RunKind(run.kind)](run, progress)
        except OpsError as error:
            _end_unbegun(run, str(error))
        except Exception:
            log.exception("%s (run %s) crashed", run, run.pk)
            _end_unbegun(run, "It crashed; the log says where. Nothing of it was kept.")
            raise


def _require_right(user_id: int, run: Run) -> None:
    user = get_user_model()._default_manager.filter(pk=user_id, is_active=True).first()
    if user is None or not may_have(user, run):
        raise BackupError(f"{run.asked_by} may not do this any more. Nothing was done.")


def _end_unbegun(run: Run, message: str) -> None:
    """End a run that failed before it was running; one that was has ended itself."""
    Run.objects.unfinished().filter(pk=run.pk).update(
        status=RunStatus.FAILED, message=message, finished_at=timezone.now()
    )


@contextmanager
def _stopped_with_the_worker() -> Iterator[Counter]:
    """Yield progress that is cancelled when the worker is asked to stop.

    The worker itself lets a task end first. A backup may take hours, and whoever stops the worker
    kills it soon after: then it is better to clean up in the seconds that are left.
    """
    progress = Counter()
    if threading.current_thread() is not threading.main_thread():
        yield progress
        return

    def stop(number: int, frame: FrameType | None) -> None:
        progress.cancel()
        former = before.get(number)
        if callable(former):
            former(number, frame)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield progress
    finally:
        for number, former in before.items():
            signal.signal(number, former)


# --- one function for each kind of run ------------------------------------------------------------


def _take(run: Run, progress: Progress) -> None:
    from ops.backups.take import take_backup

    take_backup(run, progress)


def _verify(run: Run, progress: Progress) -> None:
    from ops.backups.verify import verify_backup

    verify_backup(run, progress)


def _copy(run: Run, progress: Progress) -> None:
    from ops.backups.copies import copy_backup

    copy_backup(run, progress)


def _delete(run: Run, progress: Progress) -> None:
    from ops.backups.retention import delete_backup

    delete_backup(_backup_of(run), by=_asker(run), progress=progress, run=run)


def _pin(run: Run, progress: Progress) -> None:
    from ops.backups.pins import pin, unpin

    backup = _backup_of(run)
    with running(run) as own:
        if reason := run.arguments.get("reason"):
            pin(backup, reason=reason, by=_asker(run), run=run)
            own.say(f"Pinned: {reason}")
        else:
            unpin(backup, by=_asker(run), run=run)
            own.say("No longer pinned.")


def _restore(run: Run, progress: Progress) -> None:
    if run.arguments.get("media"):
        from ops.restores.media.restoring import restore_uploads

        restore_uploads(run, progress)
        return
    from ops.restores.complete.restore import restore

    restore(run, progress)


def _recover(run: Run, progress: Progress) -> None:
    from ops.restores.partial.recover import recover

    recover(run, progress)


def _undo(run: Run, progress: Progress) -> None:
    if "recovery" in run.arguments:
        from ops.restores.partial.recover import undo_recovery

        undo_recovery(run, progress)
        return
    if "uploads" in run.arguments:
        from ops.restores.media.restoring import undo_media_restore

        undo_media_restore(run, progress)
        return
    from ops.restores.complete.undo import undo_restore

    undo_restore(run, progress)


def _export(run: Run, progress: Progress) -> None:
    from ops.restores.accounts import kept
    from ops.restores.accounts.exporting import export_account

    kept.tidy(timezone.now())
    export_account(run, progress)


def _import(run: Run, progress: Progress) -> None:
    from ops.restores.accounts import kept
    from ops.restores.accounts.archive import NoArchiveError
    from ops.restores.accounts.importing import import_account

    kept.tidy(timezone.now())
    try:
        import_account(run, progress)
    except NoArchiveError:
        kept.drop(run.arguments["path"])  # nothing will ever come of it
        raise
    if not run.arguments["dry_run"]:
        kept.drop(run.arguments["path"])


def _drill(run: Run, progress: Progress) -> None:
    from ops.restores.drills.drill import drill

    drill(run, progress)


def _look(run: Run, progress: Progress) -> None:
    from ops.health.look import look

    look(run, progress)


def _make_restore_point(run: Run, progress: Progress) -> None:
    from ops.restores.moments.points import make_restore_point

    make_restore_point(run)


def _backup_of(run: Run) -> Any:
    if run.backup is None:
        raise BackupError(f"{run.subject} is not in the catalogue any more. Nothing was done.")
    return run.backup


def _asker(run: Run) -> Asker:
    return Asker(run.asked_by, run.via, run.asked_by_user_id)


_WORK: dict[RunKind, Callable[[Run, Progress], None]] = {
    RunKind.BACKUP: _take,
    RunKind.VERIFY: _verify,
    RunKind.PROVE: _verify,
    RunKind.COPY: _copy,
    RunKind.DELETE: _delete,
    RunKind.PIN: _pin,
    RunKind.RESTORE: _restore,
    RunKind.RECOVER: _recover,
    RunKind.UNDO: _undo,
    RunKind.EXPORT: _export,
    RunKind.IMPORT: _import,
    RunKind.DRILL: _drill,
    RunKind.HEALTH: _look,
    RunKind.RESTORE_POINT: _make_restore_point,
}
