"""Is there a good backup, since when, proven? The answer in a sentence, and what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.urls import reverse

from ops.admin.words import about, ago, kind_title, moment
from ops.backups.vault import Vault
from ops.models import Backup, BackupState, Run, RunKind, RunStatus
from ops.models.backups import GOOD, WHOLE

GOOD_LEVEL, WARNING, DANGER = "good", "warning", "danger"
_DAY = dt.timedelta(days=1)
# A day's backup that is late by two hours is no alarm yet.
_SLACK = dt.timedelta(hours=2)
# WAL is shipped as segments close, every few minutes: less than this is no gap.
USUAL_DELAY = dt.timedelta(minutes=15)


@dataclass(frozen=True)
class Targets:
    """What was promised: how much may be lost, how often a restore is proven."""

    loss: dt.timedelta = _DAY
    proof: dt.timedelta = 7 * _DAY


@dataclass(frozen=True)
class Missing:
    """One thing that keeps people awake, and where to mend it."""

    text: str
    link: str = ""
    danger: bool = False


@dataclass(frozen=True)
class Standing:
    """What a failure right now would cost."""

    sentence: str
    details: str = ""
    missing: list[Missing] = field(default_factory=list)

    @property
    def level(self) -> str:
        """good, warning or danger."""
        if any(each.danger for each in self.missing):
            return DANGER
        return WARNING if self.missing else GOOD_LEVEL


def standing(
    backups: Sequence[Backup],
    now: dt.datetime,
    *,
    restorable_to: dt.datetime | None = None,
    targets: Targets | None = None,
) -> Standing:
    """Say how things stand; `backups` newest first, `restorable_to` where the WAL archive ends."""
    targets = targets or Targets()
    whole = [each for each in backups if each.kind in WHOLE and each.state in GOOD]
    troubles = [*_failed_attempt(whole, now), *_damaged(backups)]
    if not whole:
        nothing = "There is no good backup." if backups else "There is no backup yet."
        lost = Missing("A failure now would lose everything. Take a full backup.", danger=True)
        return Standing(nothing, "", [lost, *troubles])
    newest = max(whole, key=lambda each: each.taken_at)
    latest = max(newest.taken_at, restorable_to or newest.taken_at)
    missing = [
        *_too_old(latest, now, targets),
        *_stopped_wal(restorable_to, now),
        *_unproven(whole, now, targets),
        *troubles,
        *_not_off_site(newest),
    ]
    sentence = f"Restorable to {moment(latest, now)}"
    if restorable_to and restorable_to > newest.taken_at:
        sentence = f"Restorable to any moment up to {moment(latest, now)}"
    return Standing(f"{sentence}.", _details(newest, whole, now), missing)


def _details(newest: Backup, whole: Sequence[Backup], now: dt.datetime) -> str:
    kind = newest.get_kind_display().lower()
    said = f"Last {kind_title(kind)} {ago(newest.taken_at, now)}"
    if newest.state == BackupState.PROVEN and newest.proven_at:
        return f"{said}, proven {ago(newest.proven_at, now)}."
    proven = [each for each in whole if each.state == BackupState.PROVEN and each.proven_at]
    if not proven:
        return f"{said}, {BackupState(newest.state).label.lower()}."
    best = max(proven, key=lambda each: each.taken_at)
    return (
        f"{said}, {BackupState(newest.state).label.lower()}; the last proven one is of "
        f"{moment(best.taken_at, now)}."
    )


def _too_old(latest: dt.datetime, now: dt.datetime, targets: Targets) -> list[Missing]:
    age = now - latest
    if age <= targets.loss + _SLACK:
        return []
    text = (
        f"A failure now would lose {about(age.total_seconds())} of work; promised is "
        f"{about(targets.loss.total_seconds())} at most. Take a backup, and see why none was taken."
    )
    return [Missing(text, danger=True)]


def _stopped_wal(restorable_to: dt.datetime | None, now: dt.datetime) -> list[Missing]:
    if restorable_to is None or now - restorable_to <= USUAL_DELAY:
        return []
    since = about((now - restorable_to).total_seconds())
    return [Missing(f"No WAL has been stored for {since}. See whether walreceiver runs.")]


def _unproven(whole: Sequence[Backup], now: dt.datetime, targets: Targets) -> list[Missing]:
    proofs = [
        each.proven_at for each in whole if each.state == BackupState.PROVEN and each.proven_at
    ]
    if not proofs:
        return [Missing("No backup has been proven by restoring it. Open one and press Prove.")]
    if now - max(proofs) > targets.proof + _SLACK:
        text = f"The last proof by a restore was {ago(max(proofs), now)}. Prove a newer backup."
        return [Missing(text)]
    return []


def _damaged(backups: Sequence[Backup]) -> list[Missing]:
    found = [each for each in backups if each.state in {BackupState.FAILED, BackupState.MISSING}]
    if not found:
        return []
    number = "1 backup is" if len(found) == 1 else f"{len(found)} backups are"
    link = reverse("admin:ops_backup_change", args=[found[0].pk])
    return [Missing(f"{number} damaged or missing.", link)]


def _failed_attempt(whole: Sequence[Backup], now: dt.datetime) -> list[Missing]:
    attempt = (
        Run.objects.filter(kind=RunKind.BACKUP)
        .exclude(status__in=(RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED))
        .newest_first()
        .first()
    )
    if attempt is None or attempt.status != RunStatus.FAILED:
        return []
    text = f"The last attempt failed {ago(attempt.finished_at or attempt.asked_at, now)}."
    return [Missing(text, reverse("admin:ops_run_change", args=[attempt.pk]))]


def _not_off_site(newest: Backup) -> list[Missing]:
    """Of the newest only: what is older is made up for with it."""
    if Vault.second() is None:
        if settings.PRODUCTION_LIKE:
            return [Missing("No off-site copy is configured (BACKUP_COPY_STORAGE).")]
        return []
    copies: Any = newest.copies.all()
    if any(copy.state in GOOD for copy in copies):
        return []
    link = reverse("admin:ops_backup_change", args=[newest.pk])
    return [Missing("The newest backup has no good copy off-site.", link)]
