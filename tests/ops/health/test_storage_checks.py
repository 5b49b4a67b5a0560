"""Checks of the storage: disks, growth, and WAL that is kept."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.health.checks.storage import disks, growth, wal_kept
from ops.health.disk import Disk, disk_of, is_local, merged, places
from ops.models import Sample, Severity
from ops.postgres.endpoint import Endpoint
from ops.rls.router import as_owner_by_default
from tests.harness.disks import mounted
from tests.ops.health.conftest import Patient

DAY = timedelta(days=1)
ROOMY = {"disk_free_share": 0.0, "disk_free_critical_share": 0.0}  # whatever the machine has


@pytest.fixture
def backups_go_to(settings: Settings) -> Callable[[Path], None]:
    def point(folder: Path) -> None:
        storage = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder)},
        }
        settings.STORAGES = {**settings.STORAGES, "dbbackup": storage}

    return point


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[Path]:
    with mounted(scratch / "disk", "size=4m,nr_inodes=100") as disk:
        yield disk


def keep(metric: str, subject: str, values: Sequence[float], *, before: timedelta = DAY) -> None:
    """Keep one sample a day, the last one `before` now."""
    now = timezone.now()
    with as_owner_by_default():
        for number, value in enumerate(reversed(values)):
            Sample.objects.create(
                metric=metric, subject=subject, taken_at=now - before - number * DAY, value=value
            )


# --- disks ---------------------------------------------------------------------------------------


def test_disks_with_room_are_fine(patient: Patient, backups_go_to: Any, scratch: Path) -> None:
    backups_go_to(scratch)
    assert patient.found(disks, **ROOMY) == {}
    backups_go_to(scratch / "not there yet")
    assert patient.found(disks, **ROOMY) == {}


def test_a_disk_that_is_nearly_full_is_told_until_there_is_room(
    patient: Patient, small_disk: Path, backups_go_to: Any
) -> None:
    backups_go_to(small_disk)
    limits = {"disk_free_share": 0.5, "disk_free_critical_share": 0.2}
    key = f"{small_disk}: room"
    assert key not in patient.found(disks, **limits)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    found = patient.found(disks, **limits)[key]
    assert found.severity == Severity.WARNING
    assert found.title == "The disk with backups is nearly full"
    assert f"1.0 MB of 4.2 MB are free at {small_disk} (25.0%)" in found.detail
    ballast.write_bytes(bytes(4 << 20))
    assert patient.found(disks, **limits)[key].severity == Severity.CRITICAL
    # With enough left a share says nothing.
    assert key not in patient.found(disks, **limits, disk_enough_bytes=0)
    ballast.unlink()
    assert key not in patient.found(disks, **limits)


def test_a_disk_without_room_for_files_or_mounted_read_only_is_told(
    patient: Patient, small_disk: Path, backups_go_to: Any
) -> None:
    backups_go_to(small_disk)
    for number in range(96):
        (small_disk / str(number)).touch()
    found = patient.found(disks, **ROOMY)
    assert list(found) == [f"{small_disk}: files"]
    assert found[f"{small_disk}: files"].severity == Severity.WARNING
    for file in small_disk.iterdir():
        file.unlink()
    subprocess.run(["/usr/bin/mount", "-o", "remount,ro", small_disk], check=True)
    found = patient.found(disks, **ROOMY)
    assert list(found) == [f"{small_disk}: read-only"]
    assert found[f"{small_disk}: read-only"].severity == Severity.CRITICAL


def test_a_disk_that_fills_at_a_steady_pace_is_told_before_it_is_full(
    patient: Patient, scratch: Path, backups_go_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups_go_to(scratch)
    (place,) = {found.path for found in disks_of(patient)}
    free = os.statvfs(place)
    now = free.f_bavail * free.f_frsize
    keep("disk_free_bytes", place[-150:], [now * 1.75, now * 1.5, now * 1.25])
    found = patient.found(disks, **ROOMY)
    assert list(found) == [f"{place}: forecast"]
    reported = found[f"{place}: forecast"]
    assert reported.severity == Severity.WARNING
    assert "at the pace of the last days that is enough for" in reported.detail
    assert patient.found(disks, **ROOMY, days_until_full=1.0) == {}


def test_a_hung_disk_is_told_and_the_others_are_looked_at(
    patient: Patient, small_disk: Path, backups_go_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups_go_to(small_disk)
    end, real = threading.Event(), os.statvfs

    def hang(path: Any) -> Any:
        if str(path) == str(small_disk):
            end.wait()
        return real(path)

    monkeypatch.setattr("ops.health.disk._SECONDS", 0.1)
    monkeypatch.setattr(os, "statvfs", hang)
    try:
        outcome = patient.run(disks, disk_free_share=2.0, disk_enough_bytes=1 << 60)
    finally:
        end.set()
    titles = {each.key: each for each in outcome.reported}
    assert f"The disk of {small_disk} did not answer within 0.1 s." in titles["!blind"].detail
    assert [each.title for each in outcome.reported if each.key != "!blind"] == [
        "The disk with the database is nearly full"
    ]


@pytest.mark.parametrize(
    ("host", "address", "here"),
    [
        ("", "", True),
        ("/run/postgresql", "", True),
        ("@abstract", "", True),
        ("localhost", "", True),
        ("db", "127.0.0.1", True),
        ("::1", "", True),
        ("db.example.com", "192.0.2.7", False),
        ("db.example.com", "", False),
        ("192.0.2.7", "", False),
    ],
)
def test_disks_of_a_server_elsewhere_are_none_of_this_machines(
    host: str, address: str, here: bool
) -> None:
    assert is_local(host, address) is here


def disks_of(patient: Patient) -> list[Disk]:
    with closing(Endpoint.of("owner").connect()) as connection:
        return merged([disk for place in places(connection) if (disk := disk_of(place))])


# --- growth --------------------------------------------------------------------------------------


def test_what_grows_more_than_usual_is_told_and_what_always_does_is_not(
    patient: Patient,
) -> None:
    hour = timedelta(hours=1)
    keep("table_bytes", "public.runaway", [5e9, 5.1e9, 5.2e9, 5.3e9, 8e9], before=hour)
    keep("index_bytes", "public.runaway_idx", [1e9, 1e9, 1e9, 1e9, 3e9], before=hour)
    keep("table_bytes", "public.always", [1e9, 3e9, 5e9, 7e9, 9e9], before=hour)
    keep("table_bytes", "public.small", [1e3, 1e3, 1e3, 1e3, 9e8], before=hour)
    keep("table_bytes", "public.new", [0, 5e9], before=hour)
    keep("table_bytes", "public.long_ago", [1e9, 1e9, 1e9, 1e9, 9e9], before=5 * DAY)
    found = patient.found(growth)
    assert list(found) == ["index public.runaway_idx", "table public.runaway"]
    table = found["table public.runaway"]
    assert table.severity == Severity.WARNING
    assert table.detail == (
        "It grew by 2.7 GB within a day, to 8.0 GB; usual were 100 MB a day. See what writes so "
        "much."
    )
    assert table.next_step == "manage.py inspect public.runaway"
    # A day later it is what it is.
    keep("table_bytes", "public.runaway", [8.1e9], before=-DAY)
    assert list(patient.found(growth)) == ["index public.runaway_idx"]


# --- WAL -----------------------------------------------------------------------------------------


def test_wal_that_nobody_keeps_is_fine(patient: Patient) -> None:
    assert patient.found(wal_kept, wal_kept_bytes=1 << 50) == {}
