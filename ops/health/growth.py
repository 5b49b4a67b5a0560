"""How quickly something grows, and when there is no room left: told from samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from statistics import median

Point = tuple[datetime, float]

_DAY = timedelta(days=1)
# From two days nobody can tell what is usual.
_FEWEST_DAYS = 3
# Slopes of all pairs are compared: of a month that is 435.
_MOST_DAYS = 30


@dataclass(frozen=True)
class Leap:
    """The last day's growth of something, in bytes, and what was usual before it."""

    size: float
    by: float
    usual: float


def daily(points: Sequence[Point]) -> list[Point]:
    """Return the last point of each day (in UTC), oldest first."""
    last: dict[object, Point] = {}
    for point in sorted(points):
        last[point[0].date()] = point
    return list(last.values())


def per_day(points: Sequence[Point]) -> float | None:
    """Return by how much a day a series grows (shrinks, below 0), or None of fewer than 3 days.

    The median of the slopes between all pairs of days (the Theil-Sen estimator): last night's
    import, or a file that was there for a day, does not change it as it would change a line by
    least squares.
    """
    days = daily(points)[-_MOST_DAYS:]
    if len(days) < _FEWEST_DAYS:
        return None
    return median(
        (after - before) / ((later - earlier) / _DAY)
        for (earlier, before), (later, after) in combinations(days, 2)
    )


def days_until_full(points: Sequence[Point]) -> float | None:
    """Return in how many days free room is used up; None when it is not, or nobody can tell yet."""
    slope = per_day(points)
    if slope is None or slope >= 0:
        return None
    return max(0.0, max(points)[1] / -slope)


def last_leap(points: Sequence[Point]) -> Leap | None:
    """Return how much a series grew on its last day, and the median of the days before it.

    None while fewer than 3 days came before. Days without a sample are spread evenly.
    """
    steps = [
        (after - before) / max((later - earlier) / _DAY, 1.0)
        for (earlier, before), (later, after) in pairwise(daily(points))
    ]
    if len(steps) <= _FEWEST_DAYS:
        return None
    return Leap(max(points)[1], steps[-1], max(0.0, median(steps[:-1])))
