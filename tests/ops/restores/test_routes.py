"""Which segments lead on from a backup: by `routes` as by `restorable`."""

from __future__ import annotations

from ops.backups.wal.gaps import restorable, routes
from tests.ops.backups.test_wal_gaps import at, base, history, segments


def test_a_route_goes_as_far_as_the_window_says() -> None:
    anchors = [base("a", 3), base("b", 6), base("none", 9), base("stranger", 3, system="1")]
    pieces = segments(2, 3, 4, 6, 7)
    found = routes(anchors, pieces)
    assert found == {
        "a": segments(4),
        "b": segments(7),
        "none": [],
        "stranger": [],
    }
    ends = {window.base: window.end_time for window in restorable(anchors, pieces)}
    assert (ends["a"], ends["b"]) == (at(4), at(7))


def test_a_base_whose_segment_alone_is_stored_leads_to_its_end() -> None:
    assert routes([base("a", 3)], segments(3)) == {"a": segments(3)}


def test_a_route_follows_a_timeline_whose_history_is_there() -> None:
    pieces = [*segments(3, 4, 5), *segments(5, 6, timeline=2)]
    assert routes([base("a", 3)], pieces) == {"a": segments(4, 5)}
    assert routes([base("a", 3)], [*pieces, history(2, 5)]) == {
        "a": [*segments(4), *segments(5, 6, timeline=2)]
    }
