"""The clock on the dashboard: restorable to when, last proven when, in how many minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from ops.models import Backup, BackupKind, BackupState, Drill, DrillVerdict
from ops.restores.drills.clock import clock
from ops.rls.router import as_owner_by_default

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


pytestmark = pytest.mark.django_db(databases=["default", "owner"])


@pytest.fixture(autouse=True)
def owner() -> Iterator[None]:
    with as_owner_by_default():
        yield


def add_backup(age: timedelta, **values: Any) -> Backup:
    values = {"kind": BackupKind.FULL, "state": BackupState.TAKEN, **values}
    number = Backup.objects.count()
    return Backup.objects.create(name=f"backup-{number}", taken_at=NOW - age, **values)


def add_drill(verdict: str, age: timedelta, **values: Any) -> None:
    made = Drill.objects.create(
        subject="a backup", verdict=verdict, finished_at=NOW - age, **values
    )
    Drill.objects.filter(pk=made.pk).update(started_at=NOW - age)


def test_without_a_backup_nothing_can_be_restored() -> None:
    add_backup(HOUR, kind=BackupKind.SCHEMA)
    add_backup(HOUR, state=BackupState.FAILED)

    found = clock(NOW)

    assert (found.restorable_to, found.proven_at, found.minutes) == (None, None, None)
    assert found.sentence == "Nothing can be restored: there is no good backup."
    assert found.level == "bad"


def test_a_backup_that_nobody_restored_is_a_warning() -> None:
    add_backup(HOUR)

    found = clock(NOW)

    said = timezone.localtime(NOW - HOUR)
    assert found.sentence == (
        f"Restorable to {said:%Y-%m-%d %H:%M %Z} (1 h ago), never proven. Run a drill: "
        "`manage.py drill`."
    )
    assert (found.restorable_to, found.level) == (NOW - HOUR, "warning")


def test_a_passed_drill_tells_how_long_it_takes() -> None:
    add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - 30 * HOUR)
    add_drill(DrillVerdict.PASSED, 3 * HOUR, rto_seconds=90.0)
    add_drill(DrillVerdict.INCOMPLETE, 2 * HOUR, rto_seconds=1.0)

    found = clock(NOW)

    assert (found.proven_at, found.minutes, found.level) == (NOW - 3 * HOUR, 1.5, "good")
    assert found.sentence.endswith("(1 h ago), last proven 3 h ago, in 1 min 30 s.")


def test_a_drill_that_failed_last_is_bad_until_another_one() -> None:
    add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    add_drill(DrillVerdict.FAILED, 2 * HOUR)

    assert clock(NOW).level == "bad"
    assert clock(NOW).sentence.endswith("The last drill failed (a backup).")

    add_drill(DrillVerdict.RUNNING, HOUR)
    assert clock(NOW).level == "bad"

    add_drill(DrillVerdict.PASSED, HOUR)
    assert clock(NOW).level == "good"


def test_a_promise_that_is_not_kept_is_told() -> None:
    add_backup(48 * HOUR, state=BackupState.PROVEN, proven_at=NOW - 24 * 9 * HOUR)
    add_drill(DrillVerdict.PASSED, 24 * 9 * HOUR, rto_seconds=7200.0)

    found = clock(NOW)

    assert found.sentence.endswith(
        "A failure now would lose 2 d 0 h of work; promised is 1 d 0 h at most. Run a drill: "
        "`manage.py drill`. Restoring takes longer than the 1 h 0 min promised."
    )
    assert found.level == "bad"
