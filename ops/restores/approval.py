"""A second platform administrator says yes, where settings ask for two (RESTORE_TWO_PERSONS).

What needs it is recorded as awaiting (`ops.runs.ask`), and a run that awaits can't be begun by
anybody (`ops.runs.running`). Approved, it waits for its turn as any other.
"""

from __future__ import annotations

import time
from contextlib import suppress

from django.db import Error
from django.utils import timezone

from ops.models import Run, RunStatus
from ops.models.runs import SILENCE
from ops.progress import CancelledError, Counter, Progress
from ops.restores.errors import RefusedError
from ops.runs import Asker, needs_approval, refresh_connection

RIGHT = "ops.approve_restore"
_EVERY = 1.0  # seconds between two looks
_BY_PAGE = "admin"


def is_asker(run: Run, by: Asker) -> bool:
    """Whether somebody is who asked for a run: by number or by e-mail address."""
    same_user = by.user_id is not None and by.user_id == run.asked_by_user_id
    return same_user or by.name.casefold() == run.asked_by.casefold()


def approve(run: Run, *, by: Asker) -> None:
    """Let a run that awaits approval begin when its turn comes.

    Raises RefusedError when the approver asked for it, when it does not await approval, and when
    the command that asked for it waits no longer.
    """
    if is_asker(run, by):
        raise RefusedError(
            f"{by.name} asked for this, so somebody else has to approve it. It still waits; "
            "nothing was changed."
        )
    now = timezone.now()
    if run.via != _BY_PAGE and (run.seen_at is None or run.seen_at < now - SILENCE):
        raise RefusedError(
            f"The command by which {run.asked_by} asked for this waits no longer, so nobody would "
            "carry it out. Nothing was changed; reject it, and let it be asked for again."
        )
    _decide(run, status=RunStatus.QUEUED, approved_at=now, approved_by=by.name)


def reject(run: Run, *, by: Asker, reason: str = "") -> None:
    """End a run that awaits approval, before it began.

    Raises RefusedError when it does not await approval any more.
    """
    why = f": {reason}" if reason else "."
    _decide(
        run,
        status=RunStatus.CANCELLED,
        message=f"{by.name} did not approve it{why}",
        finished_at=timezone.now(),
    )


def _decide(run: Run, **values: object) -> None:
    # Another administrator may have decided a moment ago: only one decision counts.
    if not Run.objects.filter(pk=run.pk, status=RunStatus.AWAITING).update(**values):
        raise RefusedError(f"{run} does not await approval any more. Nothing was changed.")
    for name, value in values.items():
        setattr(run, name, value)


def require(run: Run, progress: Progress | None = None) -> None:
    """Return as soon as a run may begin; wait while it awaits approval.

    Called before anything is done, whoever carries it out. Raises CancelledError when it was
    cancelled meanwhile, and RefusedError when a second administrator said no or when nobody was
    asked although settings want two.
    """
    progress = progress or Counter()
    run.refresh_from_db()
    if run.status == RunStatus.AWAITING:
        _wait(run, progress)
    if run.status == RunStatus.CANCELLED:
        raise RefusedError(f"{run.message} Nothing was changed.")
    if needs_approval(run.kind, run.arguments) and not run.approved_by:
        raise RefusedError(
            f"{run} needs the approval of a second administrator (RESTORE_TWO_PERSONS), and was "
            "asked for without. Nothing was changed; ask for it again."
        )


def _wait(run: Run, progress: Progress) -> None:
    progress.phase("waiting for the approval of a second administrator")
    try:
        while run.status == RunStatus.AWAITING:
            # The sign of life by which an approver knows that somebody will carry it out.
            try:
                Run.objects.filter(pk=run.pk).update(seen_at=timezone.now())
                run.refresh_from_db()
            except Error:
                # In hours of waiting the server may be restarted; the next look finds it again.
                refresh_connection()
            if run.cancel_asked_at is not None:
                raise CancelledError(f"{run} was cancelled before it began. Nothing was done.")
            progress.check()
            if run.status == RunStatus.AWAITING:
                time.sleep(_EVERY)
    except BaseException:
        with suppress(Error):
            Run.objects.filter(pk=run.pk, status=RunStatus.AWAITING).update(
                status=RunStatus.CANCELLED,
                message="It was cancelled before anybody approved it.",
                finished_at=timezone.now(),
            )
        raise
