"""A picture of the moments the database can be brought back to, and of the gaps between them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.urls import reverse
from django.utils import timezone

from ops.admin.words import exactly
from ops.models import Backup, BackupKind

_LONGEST = dt.timedelta(days=30)
_SHORTEST = dt.timedelta(hours=6)
# Kinds that are moments one can go back to by themselves.
_POINTS = (BackupKind.FULL, BackupKind.BASE, BackupKind.INCREMENTAL)


@dataclass(frozen=True)
class Span:
    """A stretch of time: any moment of it can be restored, or none."""

    start: dt.datetime
    end: dt.datetime
    why: str = ""


@dataclass(frozen=True)
class Bar:
    """A span as drawn: place and width in percent of the picture."""

    left: float
    width: float
    title: str


@dataclass(frozen=True)
class Dot:
    """A backup as drawn."""

    left: float
    state: str
    title: str
    link: str


@dataclass(frozen=True)
class Timeline:
    """Everything the picture is drawn from."""

    start: dt.datetime
    end: dt.datetime
    dots: list[Dot]
    windows: list[Bar] = field(default_factory=list)
    gaps: list[Bar] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """What the picture says, for whoever can't see it."""
        said = f"{len(self.dots)} backups since {exactly(self.start)}"
        if self.windows:
            said += f", {len(self.windows)} stretches restorable to any moment"
        return f"{said}, {len(self.gaps)} gaps." if self.gaps else f"{said}."


def timeline(
    backups: Sequence[Backup],
    now: dt.datetime,
    windows: Sequence[Span] = (),
    gaps: Sequence[Span] = (),
) -> Timeline | None:
    """Draw the last thirty days, or less when there is less; None without any backup."""
    since = now - _LONGEST
    shown = [each for each in backups if each.kind in _POINTS and since <= each.taken_at <= now]
    begins = [each.taken_at for each in shown] + [max(window.start, since) for window in windows]
    if not begins:
        return None
    length = max((now - min(begins)) * 1.04, _SHORTEST)
    start = max(now - length, since)

    def place(when: dt.datetime) -> float:
        share = (min(max(when, start), now) - start) / (now - start)
        return round(share * 100, 3)

    def bar(span: Span, what: str) -> Bar:
        left = place(span.start)
        title = f"{what} from {exactly(span.start)} to {exactly(span.end)}"
        return Bar(
            left, max(place(span.end) - left, 0.2), f"{title}: {span.why}" if span.why else title
        )

    return Timeline(
        start=start,
        end=now,
        dots=[
            Dot(
                place(each.taken_at),
                each.state,
                f"{each.get_kind_display()}, {exactly(each.taken_at)}: {each.get_state_display()}",
                reverse("admin:ops_backup_change", args=[each.pk]),
            )
            for each in sorted(shown, key=lambda each: each.taken_at)
        ],
        windows=[bar(span, "Any moment") for span in windows if span.end > start],
        gaps=[bar(span, "Nothing") for span in gaps if span.end > start],
        ticks=_ticks(start, now, place),
    )


_STEPS = [
    dt.timedelta(hours=1), dt.timedelta(hours=3), dt.timedelta(hours=6), dt.timedelta(hours=12),
    dt.timedelta(days=1), dt.timedelta(days=2), dt.timedelta(days=7),
]  # fmt: skip
_MOST_TICKS = 6


def _ticks(start: dt.datetime, end: dt.datetime, place: object) -> list[tuple[float, str]]:
    """Round hours or midnights, few enough to be read on a phone."""
    assert callable(place)
    step = next((step for step in _STEPS if (end - start) / step <= _MOST_TICKS), _STEPS[-1])
    form = "%H:%M" if step < dt.timedelta(days=1) else "%-d %b"
    local = timezone.localtime(start).replace(hour=0, minute=0, second=0, microsecond=0)
    ticks = []
    while local <= end:
        # The last tenth belongs to "now", on a phone too.
        if local > start and place(local) < 90:
            ticks.append((place(local), f"{local:{form}}"))
        local += step
    return ticks
