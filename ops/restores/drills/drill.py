"""A drill, from being asked for to its verdict: the one door for commands, pages and schedules.

Everything is tried on a private server that ships with the app. Of the live one only what is known
about backups is read, and written what the drill found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import Error
from django.db.models import Q
from django.utils import timezone

from ops import words
from ops.backups.catalogue import find_backup
from ops.backups.errors import BackupError
from ops.backups.plan import plan
from ops.backups.verify import STALE, Found, keep_outcome
from ops.models import Backup, BackupKind, Drill, DrillVerdict, Run, RunKind
from ops.models.backups import PHYSICAL
from ops.models.runs import ENDED
from ops.progress import CancelledError, Counter, Progress, Several
from ops.restores.drills.choosing import newest_backup, random_backup
from ops.restores.drills.ladder import (
    Outcome,
    StepState,
    climb,
    seconds_until_usable,
    verdict,
)
from ops.restores.drills.steps.copies import CopyRehearsal
from ops.restores.drills.steps.dumps import DumpRehearsal, FilesRehearsal
from ops.restores.drills.steps.moments import NOW, MomentRehearsal
from ops.restores.drills.steps.rehearsal import Rehearsal
from ops.restores.errors import RefusedError
from ops.restores.moments.targets import Target
from ops.restores.requests import DrillRequest
from ops.runs import DRILL_DIED, Asker, ask, close_dead_runs, refresh_connection, running


def ask_for_drill(request: DrillRequest, *, by: Asker) -> Run:
    """Record that somebody wants a restore rehearsed. Nothing is done yet.

    Raises BackupError for a backup that is not in the catalogue, and RefusedError for a request
    that contradicts itself, or a moment that is none.
    """
    if sum(map(bool, (request.backup, request.random, request.moment))) > 1:
        raise RefusedError(
            "A drill is of one backup, of a random one, or of a moment, not of several. Nothing "
            "was done. Name one of them."
        )
    if request.kind and (request.backup or request.moment):
        raise RefusedError(
            "A kind is for the newest or a random backup of it. Nothing was done. Leave it out."
        )
    if request.moment and request.moment != NOW:
        Target.parse(request.moment)
    backup = find_backup(request.backup) if request.backup else None
    return ask(
        RunKind.DRILL,
        _wanted(request, backup),
        by=by,
        arguments=request.as_json(),
        backup=backup,
    )


def drill(run: Run, progress: Progress | None = None) -> Drill:
    """Rehearse what a run asks for, and return what it came to.

    A step that failed is an outcome, not an error. Raises OpsError when there is nothing to try
    (no backup, a moment that nothing leads to), and CancelledError.
    """
    request = DrillRequest.of_run(run)
    with running(run) as own:
        told = Several(own, progress or Counter())
        bury_drills()
        rehearsal, backup = _rehearsal(run, request, told)
        with rehearsal:
            row = Drill.objects.create(
                run=run,
                backup=backup,
                subject=backup.name if backup else _wanted(request, None),
                target=request.moment,
            )
            own.backup = backup
            try:
                done = _climbed(row, rehearsal, told)
            except BaseException as error:
                _abort(row, error)
                raise
        refresh_connection()
        _finish(row, rehearsal, done, backup)
        own.say(f"{DrillVerdict(row.verdict).label}. {row.note}")
    return row


def bury_drills() -> int:
    """End the drills whose process died without a word; returns how many."""
    close_dead_runs()
    dead = Drill.objects.filter(verdict=DrillVerdict.RUNNING).filter(
        Q(run__isnull=True) | Q(run__status__in=ENDED)
    )
    return dead.update(
        verdict=DrillVerdict.ABORTED,
        finished_at=timezone.now(),
        note=DRILL_DIED,
    )


def _wanted(request: DrillRequest, backup: Backup | None) -> str:
    if backup is not None:
        return backup.name
    if request.moment:
        return "this very moment" if request.moment == NOW else f"the moment {request.moment}"
    kind = f"{BackupKind(request.kind).label.lower()} " if request.kind else ""
    return f"a random {kind}backup" if request.random else f"the newest {kind}backup"


def _rehearsal(
    run: Run, request: DrillRequest, progress: Progress
) -> tuple[Rehearsal, Backup | None]:
    if request.moment:
        by = Asker(run.asked_by, run.via, run.asked_by_user_id)
        return MomentRehearsal(request.moment, progress, by=by), None
    if request.backup:
        # Anew: others may have changed the row since it was asked for.
        backup = Backup.objects.filter(pk=run.backup_id or 0).first()
        if backup is None:
            raise RefusedError(f"{run.subject} is not in the catalogue any more. Nothing was done.")
    else:
        choose = random_backup if request.random else newest_backup
        backup = choose(request.kind)
    if backup.kind == BackupKind.FOREIGN:
        raise RefusedError(
            f"{backup.name} was made by django-dbbackup alone and proves nothing that a drill "
            "could compare. Nothing was done. `manage.py backup` takes one that does."
        )
    if backup.kind in PHYSICAL:
        return CopyRehearsal(backup, progress), backup
    if backup.kind == BackupKind.MEDIA:
        return FilesRehearsal(backup, progress), backup
    return DumpRehearsal(backup, progress), backup


@dataclass(frozen=True)
class _Done:
    outcomes: list[Outcome]
    seconds: float


def _climbed(row: Drill, rehearsal: Rehearsal, progress: Progress) -> _Done:
    began = time.monotonic()

    def keep(outcomes: list[Outcome]) -> None:
        refresh_connection()
        Drill.objects.filter(pk=row.pk).update(steps=[each.as_json() for each in outcomes])
        last = outcomes[-1]
        progress.say(f"{last.step.title}: {last.state}. {last.found}")

    outcomes = climb(rehearsal.steps(), progress, keep)
    return _Done(outcomes, round(time.monotonic() - began, 3))


def _abort(row: Drill, error: BaseException) -> None:
    asked = isinstance(error, (CancelledError, KeyboardInterrupt))
    with suppress(Error):  # the server may be what failed; then the next drill buries this one
        refresh_connection()
        Drill.objects.filter(pk=row.pk).update(
            verdict=DrillVerdict.ABORTED,
            finished_at=timezone.now(),
            note="It was cancelled." if asked else "It crashed; the log says where.",
        )


# --- what it came to ---------------------------------------------------------------------------


def _finish(row: Drill, rehearsal: Rehearsal, done: _Done, backup: Backup | None) -> None:
    row.steps = [each.as_json() for each in done.outcomes]
    row.verdict = verdict(done.outcomes)
    row.holds = rehearsal.holds
    row.seconds = done.seconds
    row.rto_seconds = seconds_until_usable(done.outcomes)
    if rehearsal.holds is not None:
        wanted = rehearsal.wanted or row.started_at
        row.rpo_seconds = max((wanted - rehearsal.holds).total_seconds(), 0.0)
    row.note = " ".join([_told(done.outcomes), *_promises(row)])
    row.finished_at = timezone.now()
    row.save()
    found = found_of(rehearsal, done.outcomes)
    if backup is not None and found is not None:
        keep_outcome(backup, found, done.seconds)


def _told(outcomes: Sequence[Outcome]) -> str:
    count = len(outcomes)
    for number, each in enumerate(outcomes, 1):
        if each.state == StepState.FAILED:
            return f"Step {number} of {count} failed ({each.step.title}): {each.found}"
    skipped = [each for each in outcomes if each.state == StepState.SKIPPED]
    if not skipped:
        return f"All {count} steps held."
    reasons = list(dict.fromkeys(each.found for each in skipped))
    return (
        f"Nothing was wrong, and {len(skipped)} of {count} steps could not be tried: "
        f"{' '.join(reasons[:3])}"
    )


def _promises(row: Drill) -> list[str]:
    """Hold what was measured against the plan, in sentences."""
    try:
        promised = plan()
    except BackupError:
        return []
    told = []
    if row.rto_seconds is not None:
        most = words.duration(promised.rto.total_seconds())
        kept = row.rto_seconds <= promised.rto.total_seconds()
        told.append(
            f"Usable after {words.duration(row.rto_seconds)}"
            + (f", within the {most} promised." if kept else f"; {most} are promised.")
        )
    if row.rpo_seconds is not None and row.verdict != DrillVerdict.FAILED:
        told.append(
            f"What was restored ends {words.duration(row.rpo_seconds)} before "
            f"{'the moment asked for' if row.target else 'the drill'}"
            f" (promised to lose: {words.duration(promised.rpo.total_seconds())} at most)."
        )
    return told


def found_of(rehearsal: Rehearsal, outcomes: Sequence[Outcome]) -> Found | None:
    """Return what a ladder says of its backup, as a verification would; None when nothing new."""
    for each in outcomes:
        if each.state == StepState.FAILED and each.bad:
            return Found(each.found, bad=each.bad, disproven=each.is_disproven)
    states = {each.step.name: each.state for each in outcomes}
    if states.get("checksum") != StepState.HELD:
        return None
    judging = [each for each in outcomes if each.step.judges_backup and not each.step.may_lack]
    proven = all(each.state == StepState.HELD for each in judging)
    note = " ".join(
        each.found for each in judging if each.step.name in {"checksum", "structure", "rows"}
    )
    stale = rehearsal.is_stale
    return Found(f"{STALE} {note}" if stale else note, read=True, proven=proven, stale=stale)
