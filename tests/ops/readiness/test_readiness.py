"""The readiness of an environment: restorable to when, last proven when, in how long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.models import (
    Backup,
    BackupCopy,
    BackupKind,
    BackupState,
    Drill,
    DrillVerdict,
    Run,
    RunKind,
    RunStatus,
)
from ops.readiness.reading import readiness
from ops.readiness.sentences import sentence
from ops.readiness.value import Level, Shortcoming
from ops.rls.router import as_owner_by_default

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db(databases=["default", "owner"])


@pytest.fixture(autouse=True)
def owner() -> Iterator[None]:
    with as_owner_by_default():
        yield


def add_backup(age: timedelta, **values: Any) -> Backup:
    values = {
        "kind": BackupKind.FULL,
        "state": BackupState.TAKEN,
        "environment": "development",
        **values,
    }
    number = Backup.objects.count()
    return Backup.objects.create(name=f"backup-{number}", taken_at=NOW - age, **values)


def add_drill(verdict: str, age: timedelta, subject: str = "a backup", **values: Any) -> Drill:
    made = Drill.objects.create(subject=subject, verdict=verdict, finished_at=NOW - age, **values)
    Drill.objects.filter(pk=made.pk).update(started_at=NOW - age)
    return made


def add_attempt(status: str, age: timedelta) -> Run:
    run = Run.objects.create(kind=RunKind.BACKUP, status=status, finished_at=NOW - age)
    Run.objects.filter(pk=run.pk).update(asked_at=NOW - age)
    return run


def test_without_a_backup_of_everything_nothing_can_be_restored() -> None:
    add_backup(HOUR, kind=BackupKind.SCHEMA)
    add_backup(HOUR, state=BackupState.FAILED)
    add_backup(2 * HOUR, disproven_at=NOW)
    add_backup(3 * HOUR, kind=BackupKind.FOREIGN)

    found = readiness(NOW)

    assert (found.restorable_to, found.proven_at, found.seconds, found.loss) == (None,) * 4
    assert found.level == Level.BAD
    assert found.shortcomings[0] == Shortcoming.NO_BACKUP
    assert Shortcoming.UNPROVEN not in found.shortcomings
    assert sentence(found).startswith("Nothing can be restored")


def test_a_proven_backup_of_another_environment_is_none_of_this_one() -> None:
    other = add_backup(HOUR, environment="staging", state=BackupState.PROVEN, proven_at=NOW - HOUR)
    add_drill(DrillVerdict.PASSED, HOUR, backup=other, rto_seconds=5.0)
    # Its backup is not in the catalogue any more; its name still says whose it was.
    add_drill(DrillVerdict.PASSED, HOUR, "srvc-staging-2026-11-22-190000-full-abcdef")

    here, there = readiness(NOW), readiness(NOW, environment="staging")

    assert (here.restorable_to, here.proven_at, here.seconds) == (None, None, None)
    assert (here.level, here.has_backups) == (Level.BAD, False)
    assert (there.restorable_to, there.seconds, there.level) == (NOW - HOUR, 5.0, Level.GOOD)


def test_a_failed_drill_and_damage_of_another_environment_are_its_own_affair() -> None:
    add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    other = add_backup(HOUR, environment="staging", state=BackupState.MISSING)
    BackupCopy.objects.create(
        backup=other, storage="dbbackup_copy", state=BackupState.FAILED, copied_at=NOW
    )
    add_drill(DrillVerdict.FAILED, HOUR, backup=other)

    assert readiness(NOW).shortcomings == ()
    there = readiness(NOW, environment="staging")
    assert set(there.shortcomings) == {
        Shortcoming.NO_BACKUP,
        Shortcoming.DRILL_FAILED,
        Shortcoming.NEWEST_DAMAGED,
        Shortcoming.DAMAGED,
    }
    assert [each.storage for each in there.damages] == ["", "dbbackup_copy"]


def test_a_backup_that_nobody_restored_is_a_warning() -> None:
    add_backup(HOUR)

    found = readiness(NOW)

    said = timezone.localtime(NOW - HOUR)
    assert (found.restorable_to, found.level) == (NOW - HOUR, Level.WARNING)
    assert found.shortcomings == (Shortcoming.UNPROVEN,)
    assert f"{said:%Y-%m-%d %H:%M %Z} (1 h ago), never proven" in sentence(found)


def test_an_incremental_backup_is_good_with_all_that_it_adds_to() -> None:
    base = add_backup(3 * HOUR, kind=BackupKind.BASE)
    middle = add_backup(2 * HOUR, kind=BackupKind.INCREMENTAL, parent=base)
    add_backup(HOUR, kind=BackupKind.INCREMENTAL, parent=middle)

    assert readiness(NOW).restorable_to == NOW - HOUR
    Backup.objects.filter(pk=middle.pk).update(state=BackupState.MISSING)
    assert readiness(NOW).restorable_to == NOW - 3 * HOUR
    Backup.objects.filter(pk=base.pk).update(state=BackupState.FAILED)
    assert readiness(NOW).restorable_to is None


def test_a_passed_drill_tells_how_long_it_takes() -> None:
    media = add_backup(HOUR, kind=BackupKind.MEDIA)
    add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - 30 * HOUR)
    add_drill(DrillVerdict.PASSED, 3 * HOUR, rto_seconds=90.0)
    add_drill(DrillVerdict.INCOMPLETE, 2 * HOUR, rto_seconds=1.0)
    add_drill(DrillVerdict.PASSED, HOUR, backup=media, rto_seconds=2.0)

    found = readiness(NOW)

    assert (found.proven_at, found.seconds) == (NOW - 3 * HOUR, 90.0)
    assert (found.level, found.of(BackupKind.MEDIA).proven_at) == (Level.GOOD, NOW - HOUR)


def test_a_drill_that_failed_last_is_bad_until_another_one() -> None:
    backup = add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    add_drill(DrillVerdict.FAILED, 2 * HOUR, backup=backup)

    assert readiness(NOW).shortcomings == (Shortcoming.DRILL_FAILED,)
    assert readiness(NOW).level == Level.BAD

    add_drill(DrillVerdict.RUNNING, HOUR)
    add_drill(DrillVerdict.ABORTED, HOUR)
    assert readiness(NOW).level == Level.BAD

    add_drill(DrillVerdict.PASSED, HOUR, backup=backup)
    assert readiness(NOW).level == Level.GOOD


def test_a_failed_drill_of_moments_is_not_mended_by_one_of_a_dump() -> None:
    add_backup(HOUR, kind=BackupKind.BASE)
    full = add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    moment = add_drill(DrillVerdict.FAILED, 3 * HOUR, subject="2026-11-22 14:05 UTC")
    add_drill(DrillVerdict.PASSED, 2 * HOUR, backup=full)

    found = readiness(NOW)
    assert found.shortcomings == (Shortcoming.DRILL_FAILED,)
    assert found.failed_drill is not None
    assert found.failed_drill.subject == moment.subject

    # Not tried again is not passed.
    add_drill(DrillVerdict.INCOMPLETE, 2 * HOUR, subject="2026-11-22 14:06 UTC")
    assert readiness(NOW).level == Level.BAD
    add_drill(DrillVerdict.PASSED, HOUR, subject="2026-11-22 14:07 UTC")
    assert readiness(NOW).level == Level.GOOD


def test_a_failed_drill_of_a_kind_that_nobody_takes_any_more_is_history() -> None:
    full = add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    base = add_backup(5 * HOUR, kind=BackupKind.BASE)
    add_drill(DrillVerdict.FAILED, 3 * HOUR, backup=base)
    add_drill(DrillVerdict.PASSED, 2 * HOUR, backup=full)
    assert readiness(NOW).level == Level.BAD
    base.delete()
    assert readiness(NOW).level == Level.GOOD


def test_a_promise_that_is_not_kept_is_told() -> None:
    add_backup(48 * HOUR, state=BackupState.PROVEN, proven_at=NOW - 24 * 9 * HOUR)
    add_drill(DrillVerdict.PASSED, 24 * 9 * HOUR, rto_seconds=7200.0)

    found = readiness(NOW)

    assert found.shortcomings == (
        Shortcoming.TOO_MUCH_LOST,
        Shortcoming.UNPROVEN,
        Shortcoming.TOO_SLOW,
    )
    assert (found.loss, found.level) == (48 * HOUR, Level.BAD)
    assert readiness(NOW, late=24 * HOUR).shortcomings[0] == Shortcoming.UNPROVEN


def test_what_a_schedule_may_be_late_by_is_one_setting_for_all(settings: Settings) -> None:
    add_backup(27 * HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    assert readiness(NOW).level == Level.BAD
    settings.HEALTH_THRESHOLDS = {"late": 4 * HOUR}
    assert readiness(NOW).level == Level.GOOD


def test_an_attempt_that_failed_is_told_until_one_succeeds() -> None:
    add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    failed = add_attempt(RunStatus.FAILED, HOUR)
    add_attempt(RunStatus.CANCELLED, timedelta(0))
    attempt = readiness(NOW).failed_attempt
    assert attempt is not None
    assert (attempt.run, attempt.at) == (failed.pk, NOW - HOUR)
    assert readiness(NOW).shortcomings == (Shortcoming.ATTEMPT_FAILED,)
    add_attempt(RunStatus.DONE, timedelta(0))
    assert readiness(NOW).shortcomings == ()


def test_production_wants_a_copy_elsewhere(settings: Settings) -> None:
    newest = add_backup(HOUR, state=BackupState.PROVEN, proven_at=NOW - HOUR)
    assert readiness(NOW).shortcomings == ()
    settings.PRODUCTION_LIKE = True
    assert readiness(NOW).shortcomings == (Shortcoming.NOT_OFF_SITE,)
    settings.STORAGES = {**settings.STORAGES, "dbbackup_copy": settings.STORAGES["dbbackup"]}
    assert readiness(NOW).shortcomings == (Shortcoming.NOT_OFF_SITE,)
    copy = BackupCopy.objects.create(backup=newest, storage="dbbackup_copy", copied_at=NOW)
    assert readiness(NOW).shortcomings == ()
    BackupCopy.objects.filter(pk=copy.pk).update(state=BackupState.FAILED)
    assert set(readiness(NOW).shortcomings) == {Shortcoming.NOT_OFF_SITE, Shortcoming.DAMAGED}


def test_a_plan_that_can_not_be_read_promises_a_day_an_hour_and_a_week(settings: Settings) -> None:
    settings.BACKUP_PLAN = {"kinds": {}}
    promise = readiness(NOW).promise
    assert (promise.loss, promise.time, promise.proof) == (24 * HOUR, HOUR, 7 * 24 * HOUR)
