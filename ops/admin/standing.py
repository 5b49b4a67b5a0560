"""The readiness of this environment as pages show it: a sentence, details, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.urls import reverse

from ops.admin.words import ago, kind_title, moment
from ops.models import BackupKind, BackupState
from ops.readiness.sentences import shortcoming
from ops.readiness.value import BAD, GoodBackup, Level, Readiness, Shortcoming

GOOD_LEVEL, WARNING, DANGER = "good", "warning", "danger"
_LEVELS = {Level.GOOD: GOOD_LEVEL, Level.WARNING: WARNING, Level.BAD: DANGER}


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
    level: str  # good, warning or danger
    details: str = ""
    missing: list[Missing] = field(default_factory=list)


def standing(ready: Readiness) -> Standing:
    """Say how things stand."""
    missing = [_missing(each, ready) for each in ready.shortcomings]
    level = _LEVELS[ready.level]
    if ready.newest is None or ready.restorable_to is None:
        nothing = "There is no good backup." if ready.has_backups else "There is no backup yet."
        return Standing(nothing, level, "", missing)
    to = moment(ready.restorable_to, ready.at)
    sentence = f"Restorable to {to}"
    if ready.restorable_to > ready.newest.taken_at:
        sentence = f"Restorable to any moment up to {to}"
    return Standing(f"{sentence}.", level, _details(ready.newest, ready), missing)


def _details(newest: GoodBackup, ready: Readiness) -> str:
    kind = str(BackupKind(newest.kind).label).lower()
    said = f"Last {kind_title(kind)} {ago(newest.taken_at, ready.at)}"
    if newest.state == BackupState.PROVEN and newest.proven_at:
        return f"{said}, proven {ago(newest.proven_at, ready.at)}."
    state = BackupState(newest.state).label.lower()
    if ready.newest_proven is None:
        return f"{said}, {state}."
    return (
        f"{said}, {state}; the last proven one is of "
        f"{moment(ready.newest_proven.taken_at, ready.at)}."
    )


def _missing(which: Shortcoming, ready: Readiness) -> Missing:
    link = _link(which, ready)
    return Missing(shortcoming(which, ready), link, danger=which in BAD)


def _link(which: Shortcoming, ready: Readiness) -> str:
    """Where it is looked at and mended."""
    if which in {Shortcoming.DRILL_FAILED, Shortcoming.TOO_SLOW}:
        return reverse("admin:ops_drill_changelist")
    if which == Shortcoming.ATTEMPT_FAILED and ready.failed_attempt is not None:
        return reverse("admin:ops_run_change", args=[ready.failed_attempt.run])
    if which in {Shortcoming.DAMAGED, Shortcoming.NEWEST_DAMAGED}:
        return reverse("admin:ops_backup_change", args=[ready.damages[0].pk])
    if which == Shortcoming.NOT_OFF_SITE and ready.has_second_storage and ready.newest is not None:
        return reverse("admin:ops_backup_change", args=[ready.newest.pk])
    return ""
