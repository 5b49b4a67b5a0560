"""Checks of backups and of the schedule: what is promised, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.backups.wal.checking import WAL
from ops.backups.wal.names import lsn
from ops.health.checks.archive import wal_archive
from ops.health.checks.backups import (
    backup_age,
    backup_damaged,
    backup_encryption,
    backup_failed,
    backup_storage,
    off_site_copy,
)
from ops.health.checks.proofs import drills, restore_rights
from ops.health.checks.schedule import overdue
from ops.health.checks.wal_contents import wal_contents
from ops.health.contract import Check, Reported
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
    Severity,
    WalSegment,
)
from ops.rls.router import as_owner_by_default
from tests.ops.health.conftest import Patient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SEGMENT = 16 << 20
FULL, BASE, MEDIA = BackupKind.FULL, BackupKind.BASE, BackupKind.MEDIA
PROMISES = (backup_age, drills, off_site_copy, backup_encryption, overdue)


@pytest.fixture(autouse=True)
def as_owner(patient: Patient) -> Iterator[None]:
    with as_owner_by_default():
        yield


@pytest.fixture
def production(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Let it be an environment that promises something, without base backups and WAL."""
    settings.PRODUCTION_LIKE = True
    settings.REPLICATION_URL = ""
    # What can be archived: whatever the suite runs on.
    monkeypatch.setattr("ops.health.checks.backups.OLDEST_MAJOR", 15)
    return settings


def add(kind: BackupKind, age: timedelta, **values: Any) -> Backup:
    now = timezone.now()
    values = {
        "environment": "development",
        "state": BackupState.TAKEN,
        "encryption": "age",
        "taken_at": now - age,
        "finished_at": now - age,
        **values,
    }
    return Backup.objects.create(
        name=f"{kind}-{Backup.objects.count()}", kind=kind, database="srvc", **values
    )


def add_run(kind: RunKind, age: timedelta, status: str = RunStatus.DONE, **values: Any) -> Run:
    row = Run.objects.create(kind=kind, status=status, **values)
    moment = timezone.now() - age
    Run.objects.filter(pk=row.pk).update(asked_at=moment, started_at=moment, finished_at=moment)
    return row


def add_drill(verdict: str, age: timedelta, **values: Any) -> None:
    moment = timezone.now() - age
    row = Drill.objects.create(subject="a backup", verdict=verdict, finished_at=moment, **values)
    Drill.objects.filter(pk=row.pk).update(started_at=moment)


def summary(patient: Patient, check: Check) -> dict[str, tuple[str, str]]:
    return {key: (each.severity, each.title) for key, each in patient.found(check).items()}


def one(patient: Patient, check: Check) -> Reported:
    (reported,) = patient.found(check).values()
    return reported


def age_the_site(patient: Patient) -> None:
    patient.execute("UPDATE django_migrations SET applied = applied - interval '1 year'")


def test_in_development_nothing_is_promised(patient: Patient) -> None:
    age_the_site(patient)
    for check in (*PROMISES, backup_failed, backup_damaged, backup_storage, wal_archive):
        assert patient.found(check) == {}


# --- age -----------------------------------------------------------------------------------------


def test_without_a_backup_everything_would_be_lost(patient: Patient, production: Settings) -> None:
    # A site that was only just made is late with nothing.
    assert summary(patient, backup_age) == {"none": ("critical", "There is no good backup")}
    assert one(patient, backup_age).next_step == "manage.py backup --full"
    age_the_site(patient)
    add(FULL, HOUR, state=BackupState.FAILED)
    add(FULL, HOUR, environment="elsewhere")
    assert summary(patient, backup_age) == {
        "none": ("critical", "There is no good backup"),
        "age full": ("warning", "No full backup"),
        "age media": ("warning", "No media backup"),
    }
    add(FULL, HOUR)
    add(MEDIA, HOUR)
    assert patient.found(backup_age) == {}


def test_a_backup_that_is_older_than_promised_is_told_by_its_kind(
    patient: Patient, production: Settings
) -> None:
    add(FULL, 25 * HOUR)
    add(MEDIA, 30 * HOUR)
    assert list(patient.found(backup_age)) == ["age media"]
    media = one(patient, backup_age)
    assert media.severity == Severity.WARNING
    assert media.detail.endswith("which is 30 h ago; BACKUP_PLAN promises one daily 02:30.")
    assert media.next_step == "manage.py backup --media"
    assert set(patient.found(backup_age, late=-2 * HOUR)) == {"loss", "age full", "age media"}
    loss = patient.found(backup_age, late=-2 * HOUR)["loss"]
    assert loss.severity == Severity.CRITICAL
    assert "1 d 1 h of work. Promised is 1 d 0 h at most." in loss.detail


def test_what_wal_leads_to_counts_and_an_incremental_may_be_a_base(
    patient: Patient, production: Settings
) -> None:
    production.REPLICATION_URL = "postgres://srvc_replication@db/"
    age_the_site(patient)
    add(FULL, HOUR)
    add(MEDIA, HOUR)
    add_base(3 * DAY, 0)
    assert list(patient.found(backup_age)) == ["age incremental"]
    Backup.objects.filter(kind=FULL).delete()
    assert set(patient.found(backup_age)) == {"loss", "age full", "age incremental"}
    for number in range(1, 4):
        add_segment(number, (3 - number) * HOUR)
    assert set(patient.found(backup_age)) == {"age full", "age incremental"}
    Backup.objects.filter(kind=BASE).update(taken_at=timezone.now() - HOUR)
    assert set(patient.found(backup_age)) == {"age full"}


# --- attempts, damage, storages ------------------------------------------------------------------


def test_a_failed_attempt_is_told_until_one_succeeds(patient: Patient) -> None:
    add_run(RunKind.BACKUP, 3 * HOUR, arguments={"kind": "full"})
    add_run(RunKind.BACKUP, 2 * HOUR, RunStatus.FAILED, arguments={"kind": "full"},
            message="The storage dbbackup is full.")  # fmt: skip
    add_run(RunKind.BACKUP, HOUR, arguments={"kind": "media"})
    add_run(RunKind.BACKUP, HOUR, RunStatus.CANCELLED, arguments={"kind": "full"})
    add_run(RunKind.BACKUP, 40 * DAY, RunStatus.FAILED, arguments={"kind": "schema"})
    failed = one(patient, backup_failed)
    assert (failed.key, failed.severity) == ("full", Severity.WARNING)
    assert failed.title == "The last full backup failed"
    assert failed.detail.startswith("2 h ago (run ")
    assert failed.detail.endswith("The storage dbbackup is full.")
    assert failed.next_step == "manage.py backup --full"
    add_run(RunKind.BACKUP, timedelta(0), arguments={"kind": "full"})
    assert patient.found(backup_failed) == {}


def test_damaged_and_missing_backups_and_copies_are_told(patient: Patient) -> None:
    old = add(FULL, 3 * DAY, state=BackupState.FAILED, state_note="Its bytes have changed.")
    copied = add(FULL, 2 * DAY)
    BackupCopy.objects.create(
        backup=copied, storage="dbbackup_copy", state=BackupState.MISSING, copied_at=timezone.now()
    )
    newest = add(FULL, DAY, state=BackupState.MISSING)
    found = patient.found(backup_damaged)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        old.name: ("warning", f"The backup {old.name} is damaged"),
        f"{copied.name} in dbbackup_copy": (
            "warning", f"The copy of {copied.name} in dbbackup_copy is missing",
        ),
        newest.name: ("critical", f"The backup {newest.name} is missing"),
    }  # fmt: skip
    assert found[old.name].detail == "Its bytes have changed."
    assert found[old.name].next_step == f"manage.py verify {old.name}"
    assert "the newest that would bring everything back" in found[newest.name].detail
    Backup.objects.all().update(state=BackupState.VERIFIED)
    BackupCopy.objects.all().update(state=BackupState.VERIFIED)
    assert patient.found(backup_damaged) == {}


def test_a_storage_that_is_not_there_is_told_when_it_should_hold_backups(
    patient: Patient, settings: Settings, scratch: Path
) -> None:
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(scratch / "not mounted")},
    }
    settings.STORAGES = {**settings.STORAGES, "dbbackup": storage}
    assert patient.found(backup_storage) == {}  # nothing was ever in it
    add(FULL, HOUR)
    away = one(patient, backup_storage)
    assert (away.key, away.severity) == ("dbbackup", Severity.CRITICAL)
    assert f"{scratch}/not mounted, the storage dbbackup, is not there." in away.detail
    (scratch / "not mounted").mkdir()
    assert patient.found(backup_storage) == {}


# --- off-site, encryption ----------------------------------------------------------------------


def test_the_newest_backup_has_to_be_elsewhere_too(
    patient: Patient, production: Settings, scratch: Path
) -> None:
    none = one(patient, off_site_copy)
    assert (none.key, none.severity) == ("none", Severity.WARNING)
    assert "BACKUP_COPY_STORAGE" in none.detail
    production.STORAGES = {
        **production.STORAGES,
        "dbbackup_copy": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(scratch)},
        },
    }
    assert patient.found(off_site_copy) == {}
    add(FULL, 3 * DAY)
    newest = add(FULL, 3 * HOUR)
    lonely = one(patient, off_site_copy)
    assert (lonely.key, lonely.subject) == ("newest", f"backup {newest.name}")
    # It is just being copied.
    assert patient.found(off_site_copy, late=4 * HOUR) == {}
    copy = BackupCopy.objects.create(
        backup=newest, storage="dbbackup_copy", copied_at=timezone.now()
    )
    assert patient.found(off_site_copy) == {}
    BackupCopy.objects.filter(pk=copy.pk).update(state=BackupState.FAILED)
    assert list(patient.found(off_site_copy)) == ["newest"]


def test_backups_in_clear_and_a_missing_key_are_critical(
    patient: Patient, production: Settings
) -> None:
    key = one(patient, backup_encryption)
    assert (key.key, key.severity) == ("key", Severity.CRITICAL)
    assert "has no key to encrypt its backups to" in key.detail
    assert key.next_step == "manage.py backupkeys development --new"
    production.DBBACKUP_GPG_RECIPIENT = ["ops@example.com"]
    add(FULL, DAY)
    add(FULL, DAY, environment="elsewhere", encryption="none")
    assert patient.found(backup_encryption) == {}
    clear = add(FULL, DAY, encryption="none")
    found = one(patient, backup_encryption)
    assert (found.key, found.severity) == ("clear full", Severity.CRITICAL)
    assert found.detail.startswith(f"1 full backup is in clear, such as {clear.name}.")
    assert found.next_step == f"manage.py backups delete {clear.name}"


# --- drills --------------------------------------------------------------------------------------


def test_a_failed_drill_is_critical_everywhere_until_one_holds(patient: Patient) -> None:
    backup = add(BackupKind.SCHEMA, 4 * DAY)
    add_drill(DrillVerdict.PASSED, 3 * DAY, backup=backup)
    add_drill(DrillVerdict.FAILED, 2 * DAY, backup=backup, note="Step 3 did not hold.")
    add_drill(DrillVerdict.ABORTED, DAY, backup=backup)
    failed = one(patient, drills)
    assert (failed.key, failed.severity) == ("failed", Severity.CRITICAL)
    assert failed.detail.startswith("a backup, 2 days ago: Step 3 did not hold.")
    add_drill(DrillVerdict.PASSED, HOUR, backup=backup)
    assert patient.found(drills) == {}


def test_a_drill_that_is_due_or_too_slow_is_told(patient: Patient, production: Settings) -> None:
    assert patient.found(drills) == {}  # nothing is there to be tried
    backup = add(FULL, 10 * DAY)
    due = one(patient, drills)
    assert (due.key, due.severity) == ("full", Severity.WARNING)
    assert due.detail == "None ever was; BACKUP_PLAN promises one every 7 d 0 h."
    assert due.next_step == "manage.py drill --latest --kind full"
    add_drill(DrillVerdict.PASSED, 8 * DAY, backup=backup)
    assert one(patient, drills).detail.startswith("The last that held was 8 days ago;")
    add_drill(DrillVerdict.PASSED, DAY, backup=backup, rto_seconds=5400.0)
    slow = one(patient, drills)
    assert (slow.key, slow.severity) == ("slow", Severity.WARNING)
    assert "1 h 30 min until its data could be used; promised are 1 h 0 min." in slow.detail
    add_drill(DrillVerdict.PASSED, HOUR, backup=backup, rto_seconds=60.0)
    assert patient.found(drills) == {}
    # A proof in the catalogue is one as well.
    Drill.objects.all().delete()
    Backup.objects.filter(pk=backup.pk).update(proven_at=timezone.now() - DAY)
    assert patient.found(drills) == {}


# --- what a restore needs ------------------------------------------------------------------------


def test_what_only_an_administrator_can_restore_is_told_until_it_is_the_owners(
    patient: Patient,
) -> None:
    assert patient.found(restore_rights) == {}
    patient.execute("CREATE TABLE public.figures (id int)")  # a superuser's
    told = one(patient, restore_rights)
    assert (told.key, told.severity) == ("objects", Severity.WARNING)
    assert "table public.figures" in told.detail
    patient.execute("ALTER TABLE public.figures OWNER TO srvc_owner")
    assert patient.found(restore_rights) == {}


# --- WAL -----------------------------------------------------------------------------------------


def add_base(age: timedelta, number: int) -> Backup:
    moment = timezone.now() - age
    return add(
        BASE, age, timeline=1, start_lsn=lsn(number * SEGMENT), stop_lsn=lsn(number * SEGMENT + 9),
        manifest={
            "server": {"system_identifier": "7"}, "details": {"whole_at": moment.isoformat()},
        },
    )  # fmt: skip


def add_segment(number: int, age: timedelta) -> None:
    closed: datetime = timezone.now() - age
    WalSegment.objects.create(
        segment=f"00000001{0:08X}{number:08X}", timeline=1, object_name=f"wal/{number}",
        system_identifier="7", start_lsn=lsn(number * SEGMENT),
        end_lsn=lsn((number + 1) * SEGMENT), size=1, closed_at=closed, stored_at=closed,
    )  # fmt: skip


def test_a_gap_in_the_archive_is_critical_until_a_base_backup_is_newer(patient: Patient) -> None:
    add_base(10 * HOUR, 0)
    for number in (0, 1, 2):
        add_segment(number, (9 - number) * HOUR)
    assert patient.found(wal_archive) == {}
    add_segment(5, 4 * HOUR)
    gap = one(patient, wal_archive)
    assert (gap.key, gap.severity) == ("7 1 0/3000000", Severity.CRITICAL)
    assert gap.detail.startswith(
        "2 segments are missing from the WAL archive, 0/3000000 to 0/5000000 of timeline 1"
    )
    assert gap.next_step == "manage.py backup --base"
    add_base(HOUR, 6)
    after = one(patient, wal_archive)
    assert (after.key, after.severity) == (gap.key, Severity.INFO)
    add_segment(3, 6 * HOUR)
    add_segment(4, 5 * HOUR)
    assert patient.found(wal_archive) == {}


def test_a_damaged_segment_is_worth_knowing_once_a_newer_base_backup_is_there(
    patient: Patient,
) -> None:
    add_base(10 * HOUR, 0)
    for number in (0, 1, 2, 3):
        add_segment(number, (9 - number) * HOUR)
    bad = [
        {"row": row.pk, "segment": row.segment, "storage": row.storage, "why": "It is cut off."}
        for row in WalSegment.objects.filter(object_name__in=["wal/1", "wal/3"])
    ]
    last = WalSegment.objects.latest("pk").pk
    add_run(
        RunKind.VERIFY, HOUR, arguments={"kind": WAL, "all": False, "through": last, "bad": bad}
    )

    def told() -> list[tuple[str, str, str]]:
        found = patient.found(wal_contents).values()
        return sorted((each.key[-1], each.severity, each.next_step) for each in found)

    base, again = "manage.py backup --base", "manage.py verify --wal"
    assert told() == [("1", Severity.CRITICAL, base), ("3", Severity.CRITICAL, base)]
    # A base of another server, and one that was damaged, are no way around it.
    backup = add_base(5 * HOUR, 9)
    for other in (
        {"manifest": {**backup.manifest, "server": {"system_identifier": "8"}}},
        {"state": BackupState.FAILED},
        {"timeline": 0},
        {"environment": "elsewhere"},
    ):
        Backup.objects.filter(pk=backup.pk).update(**other)
        assert [severity for _, severity, _ in told()] == [Severity.CRITICAL, Severity.CRITICAL]
        before = {name: getattr(backup, name) for name in other}
        Backup.objects.filter(pk=backup.pk).update(**before)
    backup.delete()

    add_base(6 * HOUR, 2)  # it begins where the first one ends
    assert told() == [("1", Severity.INFO, again), ("3", Severity.CRITICAL, base)]
    add_base(5 * HOUR, 3)  # and this one needs the second
    assert told() == [("1", Severity.INFO, again), ("3", Severity.CRITICAL, base)]
    add_base(HOUR, 4)
    assert told() == [("1", Severity.INFO, again), ("3", Severity.INFO, again)]
    add_run(RunKind.VERIFY, HOUR, arguments={"kind": WAL, "through": last, "bad": []})
    assert told() == []


# --- schedule ------------------------------------------------------------------------------------


def test_whatever_should_run_by_itself_and_does_not_is_critical(
    patient: Patient, production: Settings
) -> None:
    assert patient.found(overdue) == {}  # the site is only just there
    age_the_site(patient)
    found = patient.found(overdue)
    assert {key: each.next_step for key, each in found.items()} == {
        "backup full": "manage.py backup --full",
        "backup media": "manage.py backup --media",
        "verify": "manage.py verify --latest",
        "drill full": "manage.py drill --latest --kind full",
        "prune": "manage.py backups --prune --yes",
    }
    assert {each.severity for each in found.values()} == {Severity.CRITICAL}
    assert found["backup full"].title == "The full backup (daily 02:00) is overdue"
    backup = add(FULL, DAY)
    # Whether it worked is told elsewhere.
    add_run(RunKind.BACKUP, 25 * HOUR, RunStatus.FAILED, arguments={"kind": "full"})
    add_run(RunKind.BACKUP, 27 * HOUR, arguments={"kind": "media"})
    add_run(RunKind.VERIFY, HOUR, arguments={"kind": "wal"})
    assert "verify" in patient.found(overdue)  # a night that reads WAL has seen no backup
    add_run(RunKind.PROVE, HOUR)
    add_run(RunKind.DRILL, 6 * DAY, arguments={"kind": ""}, backup=backup)
    add_run(RunKind.PRUNE, HOUR)
    assert list(patient.found(overdue)) == ["backup media"]
    assert (
        "It was last begun 27 h ago, and should be every 1 d 0 h." in one(patient, overdue).detail
    )
    production.REPLICATION_URL = "postgres://srvc_replication@db/"
    assert set(patient.found(overdue)) == {
        "backup media", "backup base", "backup incremental", "drill base",
    }  # fmt: skip


def test_a_plan_that_is_nonsense_never_reads_as_healthy(
    patient: Patient, production: Settings
) -> None:
    production.BACKUP_PLAN = {"kinds": {}}
    for check in (backup_age, overdue):
        add(FULL, HOUR)
        outcome = patient.run(check)
        assert [each.key for each in outcome.reported] == ["!blind"]
        assert "BACKUP_PLAN" in outcome.reported[0].detail
