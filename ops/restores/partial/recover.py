"""Partial recovery: some rows come back from a backup or a moment, the rest stays as it is today.

What it is made from is opened on a private server, held against today's rows, and shown. Only then
are rows changed, all of them in one transaction or none, and each is kept as it was and as it was
left, so that it can be taken back.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from ops.backups.catalogue import find_backup
from ops.models import Recovery, RecoveryState, Run, RunKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Counter, Progress, Several
from ops.restores import approval
from ops.restores.errors import RefusedError
from ops.restores.partial.carrying_out import (
    Confirm,
    Origin,
    bring_back_files,
    change_rows,
    kept,
    recover_between,
    require_no_conflict,
    subject_words,
)
from ops.restores.partial.conflicts import conflicts
from ops.restores.partial.plan import Prepared, require_sensible, tables_needed
from ops.restores.partial.preview import SAMPLES
from ops.restores.partial.recreating import (
    definitions_of,
)
from ops.restores.partial.stage import prepare_session
from ops.restores.partial.undo_rows import prepare_undo
from ops.restores.past.pasts import newest_full_backup, past
from ops.restores.requests import RecoverRequest
from ops.runs import OWNER, Asker, ask, running


def ask_for_recovery(request: RecoverRequest, *, by: Asker) -> Run:
    """Record that rows are to be recovered; `recover` carries it out, here or in the worker.

    Raises RefusedError for a request that contradicts itself, OpsError for an unknown backup.
    """
    require_sensible(request)
    backup = None
    if not (request.file or request.moment or request.csv):
        backup = find_backup(request.backup) if request.backup else newest_full_backup()
        request = replace(request, backup=backup.name)
    return ask(
        RunKind.RECOVER, subject_words(request), by=by, arguments=request.as_json(), backup=backup
    )


def recover(
    run: Run,
    progress: Progress | None = None,
    *,
    samples: int = SAMPLES,
    confirm: Confirm | None = None,
) -> Recovery:
    """Carry out a recovery, or preview it. Raises OpsError; then nothing was changed.

    `confirm` is asked once the difference is known, and nothing is locked meanwhile. Where it says
    no, the recovery stays a preview.
    """
    approval.require(run, progress)
    with running(run) as own:
        told = Several(own, progress or Counter())
        request = RecoverRequest.of_run(run)
        with closing(_live()) as live:
            wanted = tables_needed(request, live)
            with past(request, wanted, told) as private, closing(private.connect()) as then:
                origin = Origin(
                    private.origin,
                    private.holds,
                    definitions_of(private, run.backup, told),
                    private.manifest,
                    run.backup,
                )
                recovery = recover_between(
                    run, request, live, then, origin, told, samples=samples, confirm=confirm
                )
        own.say(recovery.note)
        return recovery


def ask_for_undo_recovery(recovery: Recovery, *, by: Asker, despite_changes: bool = False) -> Run:
    """Record that a recovery is to be taken back; `undo_recovery` does it.

    Raises RefusedError when it was not applied, or is taken back already.
    """
    _require_applied(recovery)
    return ask(
        RunKind.UNDO,
        f"recovery {recovery.pk} of {recovery.subject}",
        by=by,
        arguments={"recovery": recovery.pk, "despite_changes": despite_changes},
        backup=recovery.backup,
    )


def undo_recovery(run: Run, progress: Progress | None = None) -> Recovery:
    """Put back what a recovery changed; returns the recovery, undone.

    The way back is recorded as a recovery of its own. Raises ConflictError, which lists rows that
    others have changed since; then nothing was changed.
    """
    approval.require(run, progress)
    with running(run) as own, closing(_live()) as live:
        told = Several(own, progress or Counter())
        undone = Recovery.objects.get(pk=run.arguments["recovery"])
        _require_applied(undone)
        prepare_session(live)
        stage, references = prepare_undo(
            live, undone.pk, told, despite_changes=bool(run.arguments.get("despite_changes"))
        )
        prepared = Prepared(stage, references)
        prepared.conflicts = conflicts(live, stage.tables, references)
        record = Recovery.objects.create(
            run=run,
            backup=undone.backup,
            origin=f"recovery {undone.pk}",
            holds=undone.started_at,
            subject=f"undo of {undone.subject}"[:500],
            plan=prepared.as_json(),
        )
        with kept(record):
            require_no_conflict(prepared)
            change_rows(run, record, prepared, live, told, exact=False, undone=undone)
        bring_back_files(record, prepared, told)
        own.say(record.note)
    undone.refresh_from_db()
    return undone


def _require_applied(recovery: Recovery) -> None:
    if recovery.state != RecoveryState.APPLIED:
        raise RefusedError(
            f"{recovery} is {recovery.get_state_display().lower()}, so there is nothing to take "
            "back. Nothing was changed."
        )


def _live() -> Connection:
    return Endpoint.of(OWNER).connect(application_name="srvc recover")
