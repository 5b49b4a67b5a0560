"""The picture of restorable moments: places in percent, round ticks, nothing outside of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.admin.timeline import Span, timeline
from ops.admin.words import ago, length, moment
from ops.models import Backup

NOW = datetime(2026, 3, 10, 21, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def backup(taken_at: datetime, kind: str = "full", pk: int = 1) -> Backup:
    return Backup(pk=pk, kind=kind, state="taken", taken_at=taken_at)


def test_without_backups_there_is_no_picture() -> None:
    assert timeline([], NOW) is None
    assert timeline([backup(NOW - 31 * DAY)], NOW) is None
    assert timeline([backup(NOW - DAY, "schema")], NOW) is None


def test_a_first_backup_stands_in_a_picture_of_hours() -> None:
    line = timeline([backup(NOW - HOUR)], NOW)
    assert line is not None
    assert line.end - line.start == 6 * HOUR
    assert [round(dot.left) for dot in line.dots] == [83]
    assert [text for _, text in line.ticks] == [f"{hour}:00" for hour in range(16, 22)]


def test_a_month_is_drawn_by_the_week_and_no_further_back() -> None:
    line = timeline(
        [backup(NOW - days * DAY, pk=days) for days in range(1, 60)],
        NOW,
        [Span(NOW - 40 * DAY, NOW - 2 * DAY)],
        [Span(NOW - 2 * DAY, NOW - DAY, "3 segments are missing")],
    )
    assert line is not None
    assert line.start == NOW - 30 * DAY
    assert len(line.dots) == 30
    assert [(round(bar.left), round(bar.width)) for bar in line.windows] == [(0, 93)]
    assert line.gaps[0].title.endswith("3 segments are missing")
    assert all(0 <= left <= 94 for left, _ in line.ticks)
    assert len(line.ticks) <= 6


def test_a_backup_from_the_future_is_not_drawn() -> None:
    line = timeline([backup(NOW + HOUR), backup(NOW - HOUR)], NOW)
    assert line is not None
    assert len(line.dots) == 1


@pytest.mark.parametrize(
    ("when", "words", "past"),
    [
        (NOW - timedelta(seconds=20), "today 21:39", "a moment ago"),
        (NOW - 3 * HOUR, "today 18:40", "3 h ago"),
        (NOW - DAY, "yesterday 21:40", "24 h ago"),
        (NOW - 9 * DAY, "1 Mar 21:40", "9 days ago"),
        (NOW - 90 * DAY, "10 Dec 2025 21:40", "90 days ago"),
        (NOW + HOUR, "today 22:40", "in the future"),
        (NOW + 3 * HOUR, "11 Mar 00:40", "in the future"),
    ],
)
def test_moments_are_told_as_people_say_them(when: datetime, words: str, past: str) -> None:
    assert (moment(when, NOW), ago(when, NOW)) == (words, past)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"), (9.96, "10.0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"), (18_720, "5 h 12 min"), (300_000, "3 days"),
    ],
)  # fmt: skip
def test_lengths_are_told_in_two_units_at_most(seconds: float, words: str) -> None:
    assert length(seconds) == words
