"""How quickly something grows, told from one point a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ops.health.growth import daily, days_until_full, last_leap, per_day

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def series(*values: float) -> list[tuple[datetime, float]]:
    return [(NOON + number * DAY, value) for number, value in enumerate(values)]


def test_of_a_day_the_last_point_counts() -> None:
    points = [(NOON + timedelta(hours=2), 2.0), (NOON, 1.0), (NOON + DAY, 3.0)]
    assert daily(points) == [(NOON + timedelta(hours=2), 2.0), (NOON + DAY, 3.0)]


def test_steady_growth_is_told_by_the_day() -> None:
    assert per_day(series(10, 20, 30, 40)) == 10
    assert per_day(series(40, 30, 20)) == -10
    assert per_day(series(10, 20)) is None
    assert per_day([]) is None


def test_one_day_that_is_not_like_the_others_does_not_change_what_is_usual() -> None:
    assert per_day(series(0, 1, 2, 3, 4, 5, 6, 1007)) == 1
    assert per_day(series(0, 1, 2, 1003, 4, 5, 6, 7)) == 1


def test_a_disk_is_full_when_its_free_room_is_used_up() -> None:
    assert days_until_full(series(100, 90, 80, 70)) == 7
    assert days_until_full(series(70, 80, 90)) is None
    assert days_until_full(series(70, 70, 70)) is None
    assert days_until_full(series(70, 60)) is None


def test_the_last_day_is_compared_with_the_days_before_it() -> None:
    leap = last_leap(series(100, 110, 121, 130, 500))
    assert leap is not None
    assert (leap.size, leap.by, leap.usual) == (500, 370, 10)
    assert last_leap(series(100, 110, 121, 500)) is None
    # Three days without a sample are three days of growth.
    points = [*series(0, 10, 20, 30), (NOON + 6 * DAY, 60.0)]
    spread = last_leap(points)
    assert spread is not None
    assert (spread.by, spread.usual) == (10, 10)
