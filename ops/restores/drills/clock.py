"""The clock: restorable to when, last proven when, in how many minutes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from ops import words
from ops.backups.errors import BackupError
from ops.backups.plan import plan
from ops.backups.wal.windows import restorable_windows
from ops.models import Backup, BackupState, Drill, DrillVerdict
from ops.models.backups import WHOLE

GOOD, WARNING, BAD = "good", "warning", "bad"
# What a nightly schedule may be late by before anybody is told.
_SLACK = timedelta(hours=2)


@dataclass(frozen=True)
class Clock:
    """What a failure right now would cost, as far as it was ever tried."""

    restorable_to: datetime | None  # None: nothing can be restored
    proven_at: datetime | None  # when a restore was last tried and held
    minutes: float | None  # that the last passed drill took until the data could be used
    sentence: str
    level: str  # good, warning, bad


@dataclass(frozen=True)
class _Promised:
    """What settings promise; a plan that can't be read promises this."""

    loss: timedelta = timedelta(hours=24)
    time: timedelta = timedelta(hours=1)
    drill: timedelta = timedelta(days=7)


def clock(now: datetime | None = None) -> Clock:
    """Return how things stand, from the catalogue and the drills."""
    now = now or timezone.now()
    whole = Backup.objects.good().of_kind(*WHOLE)
    newest = whole.aggregate(newest=Max("taken_at"))["newest"]
    if newest is None:
        return Clock(None, None, None, "Nothing can be restored: there is no good backup.", BAD)
    # Without a base in the catalogue no WAL leads anywhere, so windows alone are never enough.
    restorable_to = max([newest, *(window.end_time for window in restorable_windows())])
    proven_at = _proven_at()
    seconds = _seconds()
    problems = list(_problems(restorable_to, proven_at, seconds, now))
    to = f"{timezone.localtime(restorable_to):%Y-%m-%d %H:%M %Z}"
    said = [f"Restorable to {to} ({words.ago(restorable_to, now)})"]
    said.append(f"last proven {words.ago(proven_at, now)}" if proven_at else "never proven")
    if seconds is not None:
        said.append(f"in {words.duration(seconds)}")
    sentence = " ".join([f"{', '.join(said)}.", *(told for told, _ in problems)])
    level = BAD if any(bad for _, bad in problems) else WARNING if problems else GOOD
    minutes = None if seconds is None else round(seconds / 60, 2)
    return Clock(restorable_to, proven_at, minutes, sentence, level)


def _proven_at() -> datetime | None:
    proofs = (
        Backup.objects.of_kind(*WHOLE)
        .filter(state=BackupState.PROVEN)
        .aggregate(newest=Max("proven_at"))["newest"],
        Drill.objects.passed().aggregate(newest=Max("finished_at"))["newest"],
    )
    return max((each for each in proofs if each is not None), default=None)


def _seconds() -> float | None:
    """How long the last passed drill of a whole database took until its data could be used."""
    last = Drill.objects.passed().filter(rto_seconds__isnull=False).newest_first().first()
    return last.rto_seconds if last else None


def _problems(
    restorable_to: datetime, proven_at: datetime | None, seconds: float | None, now: datetime
) -> Iterator[tuple[str, bool]]:
    """Yield what is not as promised, and whether that is bad."""
    promised = _promised()
    lost = now - restorable_to
    if lost > promised.loss + _SLACK:
        most = words.duration(promised.loss.total_seconds())
        would = words.duration(lost.total_seconds())
        yield f"A failure now would lose {would} of work; promised is {most} at most.", True
    last = (
        Drill.objects.exclude(verdict__in=(DrillVerdict.RUNNING, DrillVerdict.ABORTED))
        .newest_first()
        .first()
    )
    if last is not None and last.verdict == DrillVerdict.FAILED:
        yield f"The last drill failed ({last.subject}).", True
    if proven_at is None or now - proven_at > promised.drill + _SLACK:
        yield "Run a drill: `manage.py drill`.", False
    if seconds is not None and seconds > promised.time.total_seconds():
        most = words.duration(promised.time.total_seconds())
        yield f"Restoring takes longer than the {most} promised.", False


def _promised() -> _Promised:
    try:
        found = plan()
    except BackupError:
        return _Promised()
    drills = [each.drill for each in found.kinds.values() if each.kind in WHOLE and each.drill]
    return _Promised(found.rpo, found.rto, min(drills, default=_Promised.drill))
