"""Pages, the dashboard, commands, metrics and health give one answer, of this environment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from ops.admin.overview import overview
from ops.health.checks.backups import backup_age
from ops.health.context import Context
from ops.health.metrics import exposition
from ops.models import Backup, BackupKind, BackupState, Drill, DrillVerdict
from ops.postgres.endpoint import Endpoint
from ops.readiness.reading import readiness
from ops.readiness.value import Level, Readiness
from ops.restores.drills.choosing import newest_backup, random_backup
from ops.restores.errors import RefusedError
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.ops.admin.rows import (
    SEGMENT,
    browser_of,
    by_default_login,
    make_backup,
    make_segment,
    platform_administrator,
)
from tests.ops.health.commanding import Manage, manage
from tests.ops.health.conftest import Patient, patient

__all__ = ["manage", "patient"]

HOUR = timedelta(hours=1)


def to_staging(backup: Backup) -> Backup:
    """Let it be one of another environment, with a passed drill and WAL that goes on from it."""
    with as_owner_by_default():
        backup.environment = "staging"
        backup.save()
        Drill.objects.create(
            backup=backup,
            subject=backup.name,
            verdict=DrillVerdict.PASSED,
            finished_at=timezone.now(),
            rto_seconds=3.0,
        )
    return backup


@pytest.fixture
def of_staging(patient: Patient) -> list[Backup]:
    """Return proven backups of another environment, which are all there is."""
    now = timezone.now()
    full = make_backup(now - HOUR, state=BackupState.PROVEN)
    base = make_backup(now - HOUR, kind=BackupKind.BASE, state=BackupState.PROVEN, lsn=SEGMENT)
    for number in range(1, 4):
        make_segment(number, now - (4 - number) * timedelta(minutes=9))
    return [to_staging(full), to_staging(base)]


def by_context() -> Readiness:
    context = Context(Endpoint.of(OWNER), timezone.now())
    try:
        with context.asking(5.0, {}):
            return readiness(context.now, ask=context.ask)
    finally:
        context.close()


def test_backups_of_another_environment_make_nothing_good_anywhere(
    of_staging: list[Backup], patient: Patient, manage: Manage, settings: Settings
) -> None:
    settings.PRODUCTION_LIKE = True
    now = timezone.now()
    with as_owner_by_default():
        shown = overview(now)
        assert (shown.standing.level, shown.readiness.level) == ("danger", Level.BAD)
        assert (shown.timeline, shown.charts) == (None, [])
        assert list(patient.found(backup_age)) == ["none"]
        for choose in (newest_backup, random_backup):
            with pytest.raises(RefusedError):
                choose()
    status = manage("dbstatus", "--json").json
    assert (status["readiness"]["level"], status["readiness"]["restorable_to"]) == ("bad", None)
    assert (status["backup"], status["drill"]) == (None, None)
    listed = manage("backups").out
    assert "staging" in listed
    assert "Nothing can be restored" in listed
    assert "Nothing can be restored" in manage("drill", "--list").out
    with by_default_login():
        numbers = exposition(now).decode()
    assert 'srvc_restore_readiness{level="bad"} 1.0' in numbers
    assert not [line for line in numbers.splitlines() if line.startswith("srvc_restorable_age")]
    assert "srvc_backup_age_seconds{" not in numbers


def test_pages_say_what_the_value_says(of_staging: list[Backup], settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False
    browser = browser_of(platform_administrator())
    for page in ("admin:ops_backup_changelist", "admin:ops_restore_changelist",
                 "admin:ops_drill_changelist"):  # fmt: skip
        shown = browser.get(reverse(page)).content.decode()
        assert "ops-danger" in shown, page
        assert "Restorable to" not in shown, page
    assert (
        "Full, of staging" in browser.get(reverse("admin:ops_backup_changelist")).content.decode()
    )


def test_a_check_reads_by_its_own_connection_what_a_page_reads(of_staging: list[Backup]) -> None:
    now = timezone.now()
    newest = make_backup(now - 3 * HOUR, kind=BackupKind.BASE, lsn=SEGMENT)
    with as_owner_by_default():
        page = readiness(now)
    check = by_context()
    assert page.newest is not None
    assert page.newest.name == newest.name
    assert page.wal_to is not None
    assert (check.newest, check.windows, check.kinds) == (page.newest, page.windows, page.kinds)
    assert (check.restorable_to, check.damages) == (page.restorable_to, page.damages)
