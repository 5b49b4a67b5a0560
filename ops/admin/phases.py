"""Where the time went: the phases of a restore or the steps of a drill, as one bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ops.admin.words import length
from ops.restores.complete.steps import overlaps, total_seconds

_HUES = 6  # colours in ops.css, taken in turn


@dataclass(frozen=True)
class Phase:
    """One part of the bar, and its line below."""

    name: str
    took: str
    found: str
    width: float  # percent
    hue: int
    state: str = ""


@dataclass(frozen=True)
class Phases:
    """The bar."""

    parts: list[Phase]
    total: str
    spans: list[Phase]  # lines about several parts at once, which add nothing to the total

    @property
    def summary(self) -> str:
        """What the bar says, for whoever can't see it."""
        return f"{self.total} in all: " + ", ".join(f"{p.name} {p.took}" for p in self.parts)


def phases(steps: Sequence[dict[str, Any]]) -> Phases | None:
    """Draw steps that know their seconds; None without any."""
    if not steps:
        return None
    apart = [each for each in steps if not overlaps(each)]
    total = total_seconds(apart)
    parts = [_phase(each, number, total) for number, each in enumerate(apart)]
    return Phases(parts, length(total), [_phase(each, 0, 0.0) for each in steps if overlaps(each)])


def _phase(step: dict[str, Any], number: int, total: float) -> Phase:
    took = max(float(step.get("seconds") or 0), 0.0)
    return Phase(
        name=_name(step),
        took=length(took),
        found=str(step.get("found") or ""),
        width=round(took / total * 100, 3) if total else 0.0,
        hue=number % _HUES,
        state=str(step.get("state") or ""),
    )


def _name(step: dict[str, Any]) -> str:
    name = str(step.get("title") or step.get("name") or step.get("step") or "")
    return name[:1].upper() + name[1:]
