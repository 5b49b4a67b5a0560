"""Drills over time: how long until the data could be used, against what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from ops.admin.words import exactly, length
from ops.models import Drill

_MOST = 30
# The picture's own units; the page scales it.
WIDTH, HEIGHT = 600, 140
_TOP, _BOTTOM = 10, 126


@dataclass(frozen=True)
class Point:
    """A drill as drawn."""

    x: float
    y: float
    verdict: str
    title: str
    link: str

    @property
    def left(self) -> float:
        """Its place in percent of the picture, which may be stretched; a circle may not."""
        return round(self.x / WIDTH * 100, 3)

    @property
    def top(self) -> float:
        """The same, from above."""
        return round(self.y / HEIGHT * 100, 3)


@dataclass(frozen=True)
class Trend:
    """One picture: points, the line through them, the promise."""

    title: str
    summary: str
    points: list[Point]
    line: str  # points of an SVG polyline
    largest: str  # what the top of the picture stands for
    promised: str = ""
    promised_y: float = 0.0
    width: int = WIDTH
    height: int = HEIGHT


def trends(drills: Sequence[Drill], *, rto: float | None, rpo: float | None) -> list[Trend]:
    """Draw drills, newest first, as restore time and as lost time; seconds are promised."""
    shown = list(drills)[:_MOST][::-1]
    found = [
        _trend("Until the data can be used (RTO)", shown, "rto_seconds", rto),
        _trend("Work that would be lost (RPO)", shown, "rpo_seconds", rpo),
    ]
    return [each for each in found if each is not None]


def _trend(title: str, drills: Sequence[Drill], name: str, promised: float | None) -> Trend | None:
    known = [
        (each, float(getattr(each, name))) for each in drills if getattr(each, name) is not None
    ]
    if not known:
        return None
    values = [value for _, value in known]
    # A promise ten times as far would press the points flat: then it is told, not drawn.
    near = promised is not None and promised <= max(values) * 10
    top = max([*values, promised if near and promised else 0.0]) or 1.0

    def height(value: float) -> float:
        return round(_BOTTOM - value / top * (_BOTTOM - _TOP), 2)

    step = WIDTH / (len(known) + 1)
    points = [
        Point(
            round(step * (place + 1), 2),
            height(value),
            drill.verdict,
            f"{exactly(drill.started_at)}: {length(value)}, {drill.get_verdict_display().lower()}",
            reverse("admin:ops_drill_change", args=[drill.pk]),
        )
        for place, (drill, value) in enumerate(known)
    ]
    told = "" if promised is None else f"promised {length(promised)}"
    said = f"{title}: the last {length(values[-1])}, at most {length(max(values))}"
    return Trend(
        title=title,
        summary=f"{said}, {told}." if told else f"{said}.",
        points=points,
        line=" ".join(f"{point.x},{point.y}" for point in points),
        largest=length(top),
        promised=told,
        promised_y=height(promised) if near and promised is not None else 0.0,
    )
