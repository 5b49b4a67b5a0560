"""What became of a run, shown on its own page: the restore, the recovery or the drill it was."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import QuerySet

from ops.admin.account_runs import account_context
from ops.admin.drills import drill_context
from ops.admin.recoveries import recovery_context
from ops.admin.restores import restore_context
from ops.admin.upload_restoring import uploads_context
from ops.models import Drill, Recovery, Restore, Run, RunKind


def outcome_of(run: Run, now: dt.datetime) -> dict[str, Any]:
    """Return what the page shows of it; nothing for kinds that leave nothing but a sentence."""
    if uploads := uploads_context(run):
        return uploads
    if run.kind == RunKind.RESTORE:
        restore = _restores().filter(run=run).first()
    elif run.kind == RunKind.UNDO:
        restore = _restores().filter(pk=run.arguments.get("restore")).first()
    else:
        restore = None
    if restore is not None:
        return restore_context(restore, now)
    if run.kind in {RunKind.RECOVER, RunKind.UNDO}:
        recovery = Recovery.objects.select_related("run").filter(run=run).first()
        return {} if recovery is None else recovery_context(recovery, now)
    if run.kind in {RunKind.EXPORT, RunKind.IMPORT}:
        return account_context(run, now)
    if run.kind == RunKind.DRILL:
        drill = Drill.objects.select_related("run").filter(run=run).first()
        return {} if drill is None else drill_context(drill, now)
    return {}


def _restores() -> QuerySet[Restore]:
    return Restore.objects.select_related("run", "safety_backup").defer("safety_backup__manifest")
