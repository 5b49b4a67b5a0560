"""`manage.py verify --wal`: the archive is read again, and what is bad is found and stays told."""

from __future__ import annotations

import io
import json
from contextlib import closing
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from ops.backups.wal.checking import ask_for_wal_check, check_wal
from ops.health.checks.wal_contents import wal_contents
from ops.health.context import Context
from ops.health.running import run_checks
from ops.models import Run, RunStatus, WalSegment
from ops.postgres.endpoint import Endpoint
from ops.progress import CancelledError, Counter
from ops.runs import OWNER
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import server_of_a_module
from tests.ops.backups.test_wal_segments import rows  # noqa: F401 (a fixture)

server = server_of_a_module()


def outcome(*arguments: str) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    try:
        call_command("verify", "--wal", *arguments, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue() or "{}")
    return 0, json.loads(out.getvalue())


def findings() -> dict[str, str]:
    """Segment and severity of what the check of health reports."""
    with closing(Context(Endpoint.of(OWNER), timezone.now())) as context:
        (outcome,) = run_checks([wal_contents], context, {}, Counter())
    assert outcome.is_complete, outcome.reported
    return {each.key.split()[-1]: each.severity for each in outcome.reported}


def test_a_damaged_segment_is_found_and_told_until_it_is_whole(
    backups: Backups,
    rows: list[WalSegment],  # noqa: F811
    settings: Settings,
) -> None:
    count = WalSegment.objects.count()
    status, found = outcome()
    assert (status, found["whole"], found["bad"]) == (0, count, [])
    assert findings() == {}
    # What was read is not read again.
    assert outcome()[1]["whole"] == 0
    assert outcome("--deep")[1]["whole"] == count

    one, two = (backups.folder / row.object_name for row in rows)
    whole = one.read_bytes()
    one.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    two.rename(two.with_suffix(".away"))
    status, found = outcome("--deep")
    assert (status, found["whole"]) == (1, count - 2)
    assert [each["segment"] for each in found["bad"]] == [row.segment for row in rows]
    assert findings() == {row.segment: "critical" for row in rows}
    # The next night looks at them again, and tells what is left.
    two.with_suffix(".away").rename(two)
    status, found = outcome()
    assert (status, found["whole"]) == (1, 1)
    assert findings() == {rows[0].segment: "critical"}
    one.write_bytes(whole)
    assert outcome()[0] == 0
    assert findings() == {}

    settings.BACKUP_AGE_IDENTITY_FILES = []
    status, found = outcome("--deep")
    assert (status, found["whole"], found["sealed"], found["bad"]) == (0, 0, count, [])


def test_a_stopped_check_goes_on_where_it_was(
    backups: Backups,
    rows: list[WalSegment],  # noqa: F811
) -> None:
    class Stopped(Counter):
        """Cancels once the first segment was read."""

        def advance(self, count: int) -> None:
            super().advance(count)
            self.cancel()

    count = WalSegment.objects.count()
    assert count >= 2
    with pytest.raises(CancelledError):
        check_wal(ask_for_wal_check(by=ASKER, everything=True), Stopped())
    assert Run.objects.latest("pk").status == RunStatus.CANCELLED
    assert outcome("--deep")[1]["whole"] == count - 1


def test_a_storage_that_is_away_says_nothing_about_segments(
    backups: Backups,
    rows: list[WalSegment],  # noqa: F811
) -> None:
    away = backups.folder.with_name("away")
    backups.folder.rename(away)
    status, found = outcome()
    assert (status, found) == (2, {})
    assert findings() == {}
    away.rename(backups.folder)
    assert outcome()[1]["whole"] == WalSegment.objects.count()
