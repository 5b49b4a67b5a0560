"""What an operator may call a moment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops.models import RestorePoint
from ops.postgres.endpoint import Endpoint
from ops.restores.errors import RefusedError
from ops.restores.moments.points import ask_for_restore_point, make_restore_point
from ops.restores.moments.recovering import Target, TargetKind, reach
from ops.restores.moments.targets import require_point_name
from ops.runs import OWNER
from tests.ops.backups.conftest import ASKER

FIVE_PAST_TWO = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "assumed"),
    [
        ("2026-11-22 14:05", True),
        (" 2026-11-22T14:05:00 ", True),
        ("2026-11-22 14:05 UTC", False),
        ("2026-11-22T14:05Z", False),
        ("2026-11-22 15:05:00.000+01:00", False),
    ],
)
def test_times(text: str, assumed: bool) -> None:
    target = Target.parse(text)
    assert (target.kind, target.time) == (TargetKind.TIME, FIVE_PAST_TWO)
    assert target.zone_assumed is assumed
    assert str(target) == "the moment 2026-11-22 14:05:00 UTC"


def test_positions_and_points() -> None:
    assert Target.parse("0/3000060").position == 0x3000060
    assert str(Target.parse("a/b0")) == "the WAL position A/B0"
    assert str(Target.parse("before-import")) == "the restore point before-import"
    assert Target.at(FIVE_PAST_TWO).time == FIVE_PAST_TWO


@pytest.mark.parametrize("text", ["", "two words", "a'b", "x" * 64, "0/3000060/1", "-a", "ä"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="is no moment"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-11-22 25:00", "9999-12-31T23:59-14:00"])
def test_what_looks_like_a_time_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="is no time: "):
        Target.parse(text)


@pytest.mark.parametrize("name", ["2026-11-22", "a b", "x" * 64, "a'b", ""])
def test_names_that_a_point_can_not_have(name: str) -> None:
    with pytest.raises(RefusedError, match="can't be the name of a restore point"):
        require_point_name(name)


@pytest.mark.usefixtures("backups")
def test_without_a_base_no_moment_can_be_restored() -> None:
    with pytest.raises(RefusedError) as refused:
        reach(Target.at(FIVE_PAST_TWO))
    major = Endpoint.of(OWNER).major
    assert str(refused.value) == (
        "The moment 2026-11-22 14:05:00 UTC can't be restored: there is no base backup to begin "
        "from. Nothing was begun. Restore a full backup instead (`manage.py backups` lists them), "
        "and take a base (`manage.py backup --base`) so that later moments can be restored."
        if major >= 17
        else "Moments can be restored on PostgreSQL 17 or newer; this server is 15. Nothing was "
        "begun. Restore a full backup instead: `manage.py backups` lists them."
    )


@pytest.mark.usefixtures("backups")
def test_points_are_made_where_they_can_be_restored_to() -> None:
    run = ask_for_restore_point("before-import", by=ASKER)
    if Endpoint.of(OWNER).major >= 17:
        assert str(make_restore_point(run)) == "before-import"
        return
    with pytest.raises(RefusedError) as refused:
        make_restore_point(run)
    assert str(refused.value) == (
        "Restore points need PostgreSQL 17 or newer; this server is 15. Nothing was made: nobody "
        "could restore to it. Take a full backup instead (`manage.py backup`)."
    )
    assert not RestorePoint.objects.exists()
