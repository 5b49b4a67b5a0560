"""Size and duration of backups over time, as Unfold's charts draw them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from ops.admin.words import length, size
from ops.models import Backup, BackupKind
from ops.models.backups import GOOD

_MOST = 40
_COLOURS = {
    BackupKind.FULL: "var(--color-primary-600)",
    BackupKind.BASE: "#0284c7",
    BackupKind.INCREMENTAL: "#38bdf8",
    BackupKind.MEDIA: "#d97706",
}
_OTHER = "#9ca3af"
_SIZES = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"), (1, "bytes")]
_TIMES = [(3600.0, "h"), (60.0, "min"), (1.0, "s")]


@dataclass(frozen=True)
class Chart:
    """One picture: `data` is what Chart.js takes."""

    title: str
    summary: str
    data: str
    legend: list[tuple[str, str]]  # colour, kind


def charts(backups: Sequence[Backup]) -> list[Chart]:
    """Draw the newest good ones, oldest first; nothing below two of them."""
    shown = [each for each in backups if each.state in GOOD and each.kind != BackupKind.FOREIGN]
    shown = shown[:_MOST][::-1]
    if len(shown) < 2:
        return []
    sizes = [each.size for each in shown]
    times = [each.seconds or 0.0 for each in shown]
    return [
        _chart(
            "Size",
            f"from {size(min(sizes))} to {size(max(sizes))}, the newest {size(sizes[-1])}",
            shown,
            lambda each: each.size,
            _unit(max(sizes), _SIZES),
        ),
        _chart(
            "Duration",
            f"from {length(min(times))} to {length(max(times))}, the newest {length(times[-1])}",
            shown,
            lambda each: each.seconds or 0.0,
            _unit(max(times), _TIMES),
        ),
    ]


def _unit(largest: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    return next((unit for unit in units if largest >= unit[0]), units[-1])


def _chart(
    title: str,
    summary: str,
    shown: Sequence[Backup],
    value: Callable[[Backup], float],
    unit: tuple[float, str],
) -> Chart:
    factor, name = unit
    kinds = list(dict.fromkeys(each.kind for each in shown))
    datasets: list[dict[str, Any]] = [
        {
            "label": f"{BackupKind(kind).label}, {name}",
            "data": [
                round(value(each) / factor, 3) if each.kind == kind else None for each in shown
            ],
            "backgroundColor": _COLOURS.get(BackupKind(kind), _OTHER),
            "borderRadius": 3,
            "maxBarThickness": 22,
            "displayYAxis": True,
            "suffixYAxis": name,
            "maxTicksXLimit": 5,
        }
        for kind in kinds
    ]
    # Two lines each: one long one would stand aslant on a phone.
    labels = [f"{timezone.localtime(each.taken_at):%-d %b|%H:%M}".split("|") for each in shown]
    return Chart(
        title=title,
        summary=f"{title} of the last {len(shown)} backups: {summary}",
        data=json.dumps({"labels": labels, "datasets": datasets}),
        legend=[
            (_COLOURS.get(BackupKind(kind), _OTHER), str(BackupKind(kind).label)) for kind in kinds
        ],
    )
