"""The second administrator's yes or no, on the page of the run that awaits it."""

from __future__ import annotations

from types import SimpleNamespace

from ops.admin.buttons import ConfirmForm
from ops.admin.words import run_title
from ops.background import queue
from ops.models import Run, RunStatus
from ops.restores import approval
from ops.runs import Asker


class ApproveForm(ConfirmForm):
    """Asks nothing but yes, and says to what."""

    def explanation(self) -> str:
        """What begins, for whom."""
        run: Run = self.row
        return (
            f"{run_title(run)}, asked for by {run.asked_by}. It begins as soon as it is approved, "
            "and your name is recorded beside theirs."
        )


def awaits(run: Run) -> bool:
    """Whether somebody has to say yes or no to it."""
    return run.status == RunStatus.AWAITING


def approve(run: Run, *, by: Asker) -> str:
    """Approve a run and let it begin; returns what to tell. Raises RefusedError."""
    approval.approve(run, by=by)
    if run.asked_by_user_id is not None:
        # In the name of who asked, whose right to it the worker looks at again.
        queue(run, by=SimpleNamespace(pk=run.asked_by_user_id))
        return "It is approved, and begins as soon as the worker is free."
    return "It is approved; the command that asked for it goes on."


def number_awaiting() -> int:
    """How many runs wait for somebody's yes."""
    return Run.objects.filter(status=RunStatus.AWAITING).count()
