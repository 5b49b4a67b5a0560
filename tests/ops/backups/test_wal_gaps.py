"""Which moments are restorable, what is missing, what may go: from names and times alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ops.backups.wal.gaps import Anchor, Piece, deletable, gaps, restorable

SIZE = 16 << 20
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SYSTEM = "7711120319561907224"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def segments(*numbers: int, timeline: int = 1, system: str = SYSTEM) -> list[Piece]:
    """Segments by their number; number N was closed N minutes after noon."""
    return [
        Piece(system, timeline, n * SIZE, (n + 1) * SIZE, f"{timeline:08X}{n:016X}", at(n))
        for n in numbers
    ]


def history(timeline: int, minutes: float) -> Piece:
    return Piece(SYSTEM, timeline, 0, 0, f"{timeline:08X}.history", at(minutes))


def base(name: str, segment: int, *, timeline: int = 1, system: str = SYSTEM) -> Anchor:
    """A backup that was taken inside of a segment, half a minute before it was closed."""
    start = segment * SIZE + 40
    return Anchor(name, system, timeline, start, start + 200, at(segment - 0.5))


def test_wal_without_a_gap_is_one_window_from_the_first_base() -> None:
    (window,) = restorable([base("b", 6), base("a", 3)], segments(1, 2, 3, 4, 5, 6, 7))
    assert (window.start_time, window.end_time) == (at(2.5), at(7))
    assert (window.base, window.backups, window.reason) == ("a", ("a", "b"), "")


def test_a_missing_segment_ends_the_window_and_says_so() -> None:
    first, second = restorable([base("a", 3), base("b", 6)], segments(3, 4, 6, 7))
    assert (first.start_time, first.end_time, first.base) == (at(2.5), at(4), "a")
    assert first.reason == (
        "1 segment is missing from the WAL archive, 0/5000000 to 0/6000000 of timeline 1, closed "
        "between 2026-03-02 12:04:00 and 2026-03-02 12:06:00 UTC"
    )
    assert (second.start_time, second.end_time, second.reason) == (at(5.5), at(7), "")


def test_a_gap_before_the_base_does_not_matter() -> None:
    (window,) = restorable([base("a", 6)], segments(1, 2, 6, 7))
    assert (window.start_time, window.end_time) == (at(5.5), at(7))


def test_the_base_holds_the_wal_of_its_own_segment() -> None:
    (window,) = restorable([base("a", 3)], segments(4, 5))
    assert (window.start_time, window.end_time) == (at(2.5), at(5))


def test_moments_before_a_newer_base_wait_for_their_wal() -> None:
    bases = [base("a", 3), base("b", 5)]
    before, alone = restorable(bases, segments(3, 4))
    assert (before.end_time, before.reason) == (at(4), "")
    assert (alone.start_time, alone.is_moment) == (at(4.5), True)
    (window,) = restorable(bases, segments(3, 4, 5))
    assert (window.start_time, window.end_time) == (at(2.5), at(5))


def test_a_base_without_wal_is_a_moment() -> None:
    (window,) = restorable([base("a", 3)], [])
    assert window.is_moment
    assert window.start_time == at(2.5)
    assert window.reason == "the WAL after it is not in the archive"


def test_wal_of_another_server_is_of_no_use() -> None:
    (window,) = restorable([base("a", 3)], segments(3, 4, 5, system="1"))
    assert window.is_moment


def test_a_new_timeline_goes_on_where_the_old_one_was_left() -> None:
    # 4 exists on both: the old server wrote its own end of it.
    stored = [*segments(3, 4), history(2, 4), *segments(4, 5, 6, timeline=2)]
    (window,) = restorable([base("a", 3)], stored)
    assert (window.end_time, window.reason) == (at(6), "")


def test_without_its_history_a_timeline_is_not_followed() -> None:
    stored = [*segments(3, 4), *segments(4, 5, 6, timeline=2)]
    (window,) = restorable([base("a", 3)], stored)
    assert window.end_time == at(4)
    assert window.reason == "the history of timeline 2 is missing from the WAL archive"


def test_gaps_are_found_per_timeline() -> None:
    stored = [*segments(1, 2, 5, 6, 9), *segments(9, 10, timeline=2), *segments(7, system="1")]
    assert [(gap.timeline, gap.segments) for gap in gaps(stored)] == [(1, 2), (1, 2)]


def test_every_order_of_segments_says_the_same() -> None:
    stored = segments(3, 4, 6, 7, 8)
    bases = [base("a", 3), base("b", 7)]
    assert restorable(bases[::-1], stored[::-1]) == restorable(bases, stored)


def test_wal_before_the_oldest_kept_base_may_go() -> None:
    stored = [*segments(1, 2, 3, 4), history(1, 0)]
    kept = [base("b", 3), base("c", 4)]
    found = deletable(stored, kept, closed_before=at(60))
    assert [piece.file for piece in found] == [piece.file for piece in segments(1, 2)]


def test_what_was_closed_lately_stays() -> None:
    found = deletable(segments(1, 2, 3, 4), [base("c", 4)], closed_before=at(2))
    assert [piece.file for piece in found] == [piece.file for piece in segments(1)]


def test_wal_of_a_server_without_a_backup_may_go() -> None:
    old = segments(1, 2, system="1")
    assert deletable([*old, *segments(5)], [base("a", 3)], closed_before=at(60)) == old
