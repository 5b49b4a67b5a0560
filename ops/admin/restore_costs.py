"""What a complete restore costs: what is lost, how long it takes, what is closed meanwhile."""

from __future__ import annotations

import datetime as dt

from django.conf import settings
from django.db.models import QuerySet

from ops.admin.restore_answers import Answers
from ops.admin.words import about, ago, exactly, length
from ops.models import Backup, BackupKind, BackupState, Drill, Restore, RestoreState
from ops.readiness.reading import readiness
from ops.restores.complete.steps import total_seconds

Cost = tuple[str, str]


def costs(answers: Answers, now: dt.datetime) -> list[Cost]:
    """What one should know before it begins, as questions and answers."""
    return [
        ("What comes back", _origin(answers, now)),
        ("What is lost", _lost(answers, now)),
        ("How long it takes", _duration(answers)),
        ("What is closed meanwhile", _closed(answers)),
        ("The way back", _way_back()),
    ]


def warnings(answers: Answers) -> list[str]:
    """What speaks against it."""
    found = []
    backup = answers.backup
    if backup is not None and backup.state != BackupState.PROVEN:
        found.append(
            "This backup was never proven by a restore. It is compared with its manifest before "
            "it takes the live database's place, so nothing is at risk but time."
        )
    if backup is not None and backup.kind == BackupKind.DATA:
        found.append("It has rows alone: the tables are taken from the newest backup that has any.")
    if answers.options.get("skip_safety"):
        found.append("No backup is taken of what is replaced.")
    if answers.options.get("despite_invariants"):
        found.append("Data that contradicts an invariant is taken as well.")
    return found


def _origin(answers: Answers, now: dt.datetime) -> str:
    said = f"The {answers.origin}" if answers.backup else answers.origin
    since = f", {ago(answers.holds, now)}" if answers.holds else ""
    return f"{said[:1].upper()}{said[1:]}{since}."


def _lost(answers: Answers, now: dt.datetime) -> str:
    if answers.holds is None:
        return "Whatever was written since the restore point is not in it."
    since = about((now - answers.holds).total_seconds())
    return (
        f"Whatever was written since {exactly(answers.holds)} ({since}) is not in it. It stays in "
        "the replaced database, from which rows can be recovered one by one."
    )


def _duration(answers: Answers) -> str:
    known = _seconds(answers)
    if known is None:
        return "Nobody has restored anything here yet, so nobody knows. A drill finds out."
    seconds, what = known
    return f"Probably about {length(seconds)}: that is how long {what} took."


def _seconds(answers: Answers) -> tuple[float, str] | None:
    """How long something like it took last, the likest first."""
    drills: QuerySet[Drill] = Drill.objects.filter(rto_seconds__isnull=False).newest_first()
    if answers.backup is not None:
        same = drills.filter(backup=answers.backup).first()
        if same is not None and same.rto_seconds:
            return same.rto_seconds, "the last drill of this backup"
    done = Restore.objects.filter(state__in=(RestoreState.SWAPPED, RestoreState.UNDONE))
    last = done.newest_first().first()
    if last is not None and last.phases:
        return total_seconds(last.phases), "the last restore"
    if (drilled := readiness().seconds) is not None:
        return drilled, "the last drill"
    if answers.backup is not None and answers.backup.state == BackupState.PROVEN:
        seconds = answers.backup.check_seconds
        return None if seconds is None else (seconds, "proving this backup")
    return None


def _closed(answers: Answers) -> str:
    said = (
        "Nothing while it is restored and compared beside. Then writes are refused, and pages that "
        "only show something go on"
    )
    if answers.options.get("skip_safety"):
        return f"{said}, for the moment of the swap."
    last = Backup.objects.newest_full(settings.ENVIRONMENT)
    took = f" (the last one took {length(last.seconds)})" if last and last.seconds else ""
    return f"{said}, while a backup is taken of what is replaced{took}, and for the swap."


def _way_back() -> str:
    days = settings.RESTORE_KEEP_DAYS
    if not days:
        return "None: the replaced database is not kept (RESTORE_KEEP_DAYS is 0)."
    return f"Undo, for {days} day{'' if days == 1 else 's'}: the replaced database is kept beside."
