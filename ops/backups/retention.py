"""Carrying out the plan: what goes, goes manifest first, so that nothing half-deleted looks whole.

The off-site copies follow a plan of their own: a backup that has left the storage stays in the
catalogue for as long as its copy does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from ops.backups.errors import BackupError, BusyError
from ops.backups.leftovers import Leftover, leftovers, remove
from ops.backups.lock import one_at_a_time
from ops.backups.plan import plan, plan_of_copies
from ops.backups.removal import delete_from
from ops.backups.rules import Entry, decide
from ops.backups.vault import COPY, PRIMARY, Vault
from ops.backups.wal.gaps import Anchor, Piece, deletable
from ops.liveness import living
from ops.models import Backup, BackupCopy, BackupKind, BackupState, Run, RunKind, WalSegment
from ops.models.backups import GOOD, PHYSICAL
from ops.progress import Counter, Progress, Several
from ops.runs import Asker, ask, running
from ops.words import size

# A base backup that has just begun will want the segments of its own time.
_WAL_STAYS = timedelta(days=1)


@dataclass(frozen=True)
class Decision:
    """What becomes of one backup, or of its off-site copy, and why."""

    backup: Backup
    keep: bool
    reason: str
    storage: str = PRIMARY

    def __str__(self) -> str:
        return f"{'kept' if self.keep else 'deleted'}: {self.reason}"


@dataclass
class Pruned:
    """What pruning found and, unless it was a trial, did."""

    decisions: list[Decision] = field(default_factory=list)
    leftovers: list[tuple[Vault, Leftover]] = field(default_factory=list)
    segments: list[WalSegment] = field(default_factory=list)
    skipped: str = ""  # why physical backups and WAL were left alone

    @property
    def deleted(self) -> list[Decision]:
        """The decisions against a backup."""
        return [decision for decision in self.decisions if not decision.keep]

    @property
    def freed(self) -> int:
        """Bytes of the backups and segments that go."""
        return sum(each.backup.size for each in self.deleted) + sum(
            segment.size for segment in self.segments
        )

    def __str__(self) -> str:
        parts = [
            _many(len(self.deleted), "backup"),
            _many(len(self.segments), "WAL segment"),
            _many(len(self.leftovers), "leftover"),
        ]
        return f"{', '.join(parts)}, {size(self.freed)}"


def plan_pruning(now: datetime) -> list[Decision]:
    """Return what pruning would do at this moment: every backup newest first, then every copy.

    Raises BackupError when the plan is nonsense.
    """
    rows = list(Backup.objects.newest_first().defer("manifest"))
    copies = list(BackupCopy.objects.filter(storage=COPY).order_by("-backup__taken_at"))
    busy = _Busy()
    good_copies = {copy.backup_id for copy in copies if copy.state in GOOD}
    verdicts = decide(
        [_entry(row, row, busy, good_copies) for row in rows if row.storage == PRIMARY],
        plan(),
        now,
    )
    by_id = {row.pk: row for row in rows}
    # Off-site are the copies, and what has left the storage before its copy did.
    off_site = [_entry(by_id[copy.backup_id], copy, busy, set()) for copy in copies]
    off_site += [_entry(row, row, busy, set()) for row in rows if row.storage == COPY]
    verdicts_off_site = decide(off_site, plan_of_copies(), now)
    verdicts |= {row.pk: verdicts_off_site[row.pk] for row in rows if row.storage == COPY}
    elsewhere = (True, "it is in a folder that somebody chose, where no plan reaches")
    decisions = [Decision(row, *verdicts.get(row.pk, elsewhere), row.storage) for row in rows]
    for copy in copies:
        row = by_id[copy.backup_id]
        decisions.append(Decision(row, *verdicts_off_site[row.pk], COPY))
    return decisions


def wanted_copies(now: datetime) -> list[Backup]:
    """Return the backups that have no off-site copy and whose copy the plan would keep.

    Oldest first, so that what a backup adds to is there before it.
    """
    own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
    rows = list(own.filter(storage=PRIMARY).defer("manifest"))
    there = set(BackupCopy.objects.filter(storage=COPY).values_list("backup_id", flat=True))
    busy = _Busy()
    kept = decide([_entry(row, row, busy, set()) for row in rows], plan_of_copies(), now)
    wanted = [row for row in rows if row.pk not in there and kept[row.pk][0]]
    return sorted(wanted, key=lambda row: (row.taken_at, row.pk))


def ask_to_prune(*, by: Asker) -> Run:
    """Record that somebody wants the plan carried out."""
    return ask(RunKind.PRUNE, "", by=by)


def prune(run: Run, dry_run: bool = False, progress: Progress | None = None) -> Pruned:
    """Delete what the plan no longer keeps, and what belongs to no backup.

    A trial (`dry_run`) says the same and deletes nothing. Raises OpsError; what was deleted until
    then is gone, and the rest is whole.
    """
    with running(run) as own:
        told = Several(own, progress or Counter())
        told.phase("deciding")
        with _physical_held(run) as held:
            done = _found(timezone.now())
            if not held:
                _leave_physical(done)
            if not dry_run:
                _carry_out(done, told)
        own.say(f"{'Would delete' if dry_run else 'Deleted'} {done}.")
    return done


def delete_backup(
    backup: Backup, *, by: Asker, progress: Progress | None = None, run: Run | None = None
) -> None:
    """Delete one backup and its copies because somebody wants to.

    `run` is the one that was asked for; without it one is recorded. Raises BackupError when it is
    pinned, the last proven one of its kind, needed by another or at work; nothing is deleted then.
    """
    run = run or ask(RunKind.DELETE, backup.name, by=by, backup=backup)
    with running(run) as own:
        told = Several(own, progress or Counter())
        with _physical_held(run) as held:
            _require_deletable(backup, run, held=held)
            told.phase("deleting")
            for copy in backup.copies.all():
                delete_from(copy.storage, backup)
            delete_from(backup.storage, backup)
        own.say(f"{backup.name} is deleted.")


# --- deciding -----------------------------------------------------------------------------------


class _Busy:
    """What is going on right now that needs a backup to stay."""

    def __init__(self) -> None:
        self.working_on: dict[int, str] = {}
        self.physical = ""
        at_work = living(Run.objects.all()).exclude(kind__in=(RunKind.PRUNE, RunKind.DELETE))
        for run in at_work:
            if run.backup_id is not None:
                self.working_on[run.backup_id] = f"a run is at work on it ({run})"
            if run.kind == RunKind.BACKUP and run.arguments.get("kind") in PHYSICAL:
                self.physical = "a backup that may add to it is being taken"


def _entry(row: Backup, checked: Backup | BackupCopy, busy: _Busy, copied: set[int]) -> Entry:
    """Return what the rules need; a copy's own state counts where it is about the copy."""
    needed = busy.working_on.get(row.pk, "")
    if row.kind in PHYSICAL:
        needed = needed or busy.physical
    if row.environment != settings.ENVIRONMENT and row.kind != BackupKind.FOREIGN:
        needed = f"it is of {row.environment}, which has a plan of its own"
    if checked.state not in GOOD and row.pk in copied:
        needed = needed or f"{checked.state} here, but its off-site copy is good"
    return Entry(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        state=checked.state,
        taken_at=row.taken_at,
        parent=row.parent_id,
        pinned=row.pin_reason if row.pinned_at else "",
        state_since=checked.checked_at or row.finished_at or row.taken_at,
        needed=needed,
    )


def _found(now: datetime) -> Pruned:
    found = Pruned(decisions=plan_pruning(now))
    vaults = [vault for vault in (Vault.primary(), Vault.second()) if vault is not None]
    for vault in vaults:
        if Backup.objects.filter(storage=vault.label).exists():
            vault.require_there()
        found.leftovers += [(vault, each) for each in leftovers(vault, now)]
    found.segments = _needless_wal(found.decisions, now)
    return found


def _needless_wal(decisions: list[Decision], now: datetime) -> list[WalSegment]:
    """Return the segments that no backup kept in the same storage can be rolled forward with."""
    needless = []
    for storage in WalSegment.objects.order_by().values_list("storage", flat=True).distinct():
        kept = [
            decision.backup.pk
            for decision in decisions
            if decision.keep and decision.storage == storage and decision.backup.kind in PHYSICAL
        ]
        rows = Backup.objects.filter(pk__in=kept).exclude(manifest={})
        segments = {Piece.of_row(row): row for row in WalSegment.objects.filter(storage=storage)}
        anchors = [Anchor.of_backup(row) for row in rows]
        gone = deletable(segments, anchors, closed_before=now - _WAL_STAYS)
        needless += [segments[piece] for piece in gone]
    return needless


@contextmanager
def _physical_held(run: Run) -> Iterator[bool]:
    """Keep physical backups from being begun meanwhile; False when one is under way."""
    with ExitStack() as stack:
        try:
            stack.enter_context(one_at_a_time(BackupKind.BASE, run))
        except BusyError:
            held = False
        else:
            held = True
        yield held


def _leave_physical(found: Pruned) -> None:
    found.skipped = "A physical backup is being taken, so no chain and no WAL was touched."
    found.segments = []
    found.decisions = [
        each
        if each.keep or each.backup.kind not in PHYSICAL
        else Decision(each.backup, True, "a backup that may add to it is being taken", each.storage)
        for each in found.decisions
    ]


def _require_deletable(backup: Backup, run: Run, *, held: bool) -> None:
    backup.refresh_from_db()
    why = why_it_stays(backup, run)
    if not why and backup.kind in PHYSICAL and not held:
        why = "a physical backup is being taken, which may add to it; wait for that to end"
    if why:
        raise BackupError(f"{backup} was not deleted: {why}.")


def why_it_stays(backup: Backup, run: Run | None = None) -> str:
    """Return why a backup may not be deleted, as half a sentence; empty when it may.

    `run` is the one that would delete it.
    """
    if backup.pinned_at is not None:
        return f"it is pinned ({backup.pin_reason}); unpin it first"
    if child := backup.children.newest_first().first():
        return f"{child} adds to it; delete the chain from its end"
    others = living(Run.objects.filter(backup=backup))
    if run is not None:
        others = others.exclude(pk=run.pk)
    if at_work := others.first():
        return f"a run is at work on it ({at_work}); wait for it or cancel it"
    if backup.state == BackupState.PROVEN and not _others_proven(backup).exists():
        return "it is the last one of its kind that is proven; prove a newer one first"
    return ""


def _others_proven(backup: Backup) -> QuerySet[Backup]:
    same = Backup.objects.of_environment(backup.environment).of_kind(backup.kind)
    return same.filter(state=BackupState.PROVEN).exclude(pk=backup.pk)


# --- deleting -----------------------------------------------------------------------------------


def _carry_out(found: Pruned, progress: Progress) -> None:
    goes = found.deleted
    progress.phase("deleting", len(goes) + len(found.segments) + len(found.leftovers), "objects")
    # What adds to another goes before it: cut short, this leaves chains without an end, not
    # without a beginning. Copies go first, for a backup that has none left takes its row along.
    for decision in sorted(goes, key=lambda each: (each.storage != COPY, -_moment(each))):
        progress.check()
        delete_from(decision.storage, decision.backup)
        progress.advance(1)
    for segment in found.segments:
        progress.check()
        Vault.of(segment.storage).delete(segment.object_name)
        segment.delete()
        progress.advance(1)
    for vault, leftover in found.leftovers:
        progress.check()
        remove(vault, leftover)
        progress.advance(1)


def _moment(decision: Decision) -> float:
    return decision.backup.taken_at.timestamp()


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
