"""How a run stands, as its page shows it and its script asks for it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ops.admin.words import run_title
from ops.background import QUEUE
from ops.liveness import is_dead, living
from ops.models import Run, RunStatus
from ops.runs import left_behind

# A worker looks for work every second; longer than this, somebody should know what to do.
PATIENCE = dt.timedelta(seconds=15)


def has_died(run: Run, now: dt.datetime) -> bool:
    """Whether its process stopped without a word. The row still says running until it is ended."""
    return is_dead(run, now)


def state_of(run: Run, now: dt.datetime) -> dict[str, Any]:
    """What the page's script needs; times are seconds."""
    is_dead = has_died(run, now)
    since = run.started_at or run.asked_at
    until = run.finished_at or (run.seen_at if is_dead and run.seen_at else now)
    return {
        "status": run.status,
        "label": "Died" if is_dead else run.get_status_display(),
        "at_work": not run.has_ended and not is_dead,
        "phase": _phase(run, is_dead=is_dead),
        "hint": _hint(run, now) if not run.has_ended and not is_dead else "",
        "done": run.done,
        "total": run.total,
        "unit": run.unit,
        "elapsed": round(max((until - since).total_seconds(), 0), 1),
        "stopping": run.cancel_asked_at is not None,
        "message": run.message or (died(run) if is_dead else ""),
    }


def died(run: Run) -> str:
    """What it means that a run's process is gone."""
    return (
        "Nobody carries it out any more: its process was killed, or the machine stopped. "
        f"{left_behind(run)} Ask for it again."
    )


def _phase(run: Run, *, is_dead: bool) -> str:
    if run.status == RunStatus.AWAITING:
        return "Awaiting the approval of a second administrator"
    if run.status == RunStatus.QUEUED:
        return "Waiting for the worker"
    if run.has_ended or is_dead:
        return ""
    if run.cancel_asked_at is not None:
        return "Stopping"
    return run.phase[:1].upper() + run.phase[1:] or "Starting"


def _hint(run: Run, now: dt.datetime) -> str:
    if run.status == RunStatus.AWAITING:
        return (
            f"Nothing begins before somebody other than {run.asked_by} opens this page and "
            "approves it."
        )
    if run.status != RunStatus.QUEUED:
        return "You can close this page: the work goes on, and its outcome will be here."
    if now - run.asked_at < PATIENCE:
        return "It begins as soon as the worker is free."
    # What commands and the WAL receiver carry out by themselves keeps nobody waiting.
    ahead = living(Run.objects.running().filter(via="admin")).first()
    if ahead is not None:
        return f"The worker is busy: {run_title(ahead)} is going on. This one waits for its turn."
    return (
        "Nobody has taken it up: the worker for operations is not running. Start it with "
        f"`make run`, or on the server with `manage.py worker --queue-name {QUEUE}`. What "
        "waits is not lost."
    )
