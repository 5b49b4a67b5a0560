"""The storage is asked each day whether it still has what the catalogue says it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.backups import s3
from ops.backups.s3 import S3Backups
from ops.backups.vault import Vault
from ops.backups.wal.names import lsn, segment_at
from ops.health.checks.backups import backup_damaged
from ops.health.checks.stored import stored_objects
from ops.models import Backup, BackupCopy, BackupKind, BackupState, CheckState, Severity, WalSegment
from ops.rls.router import as_owner_by_default
from tests.ops.backups.s3server import KEYS, s3_server
from tests.ops.health.conftest import Patient
from tests.ops.health.stepping import take

MEGABYTE = 1 << 20
SEGMENT = 16 * MEGABYTE
SYSTEM = "7391"


@dataclass
class Stores:
    """Two folders that backups go to."""

    primary: Path
    copy: Path

    def put(self, name: str, size: int = 10, *, copy: bool = False) -> dict[str, Any]:
        path = (self.copy if copy else self.primary) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        return {"role": "archive", "name": name, "size": size, "sha256": "", "raw_size": size}


@pytest.fixture
def stores(patient: Patient, settings: Settings, tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path / "backups", tmp_path / "elsewhere")
    backend = "django.core.files.storage.FileSystemStorage"
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup": {"BACKEND": backend, "OPTIONS": {"location": str(made.primary)}},
        "dbbackup_copy": {"BACKEND": backend, "OPTIONS": {"location": str(made.copy)}},
    }
    made.primary.mkdir()
    made.copy.mkdir()
    with as_owner_by_default():
        yield made


def add(
    stores: Stores, name: str, age: int, kind: BackupKind = BackupKind.FULL, **values: Any
) -> Backup:
    """A good backup and its copy, in both storages."""
    for copy in (False, True):
        objects = [stores.put(f"{name}.zst", copy=copy)]
        stores.put(f"manifests/{name}.json", copy=copy)
    at = timezone.now() - timedelta(hours=age)
    backup = Backup.objects.create(
        name=name, kind=kind, environment="development", database="srvc", taken_at=at,
        finished_at=at, state=BackupState.TAKEN,
        manifest={"objects": objects, "server": {"system_identifier": SYSTEM}}, **values,
    )  # fmt: skip
    BackupCopy.objects.create(
        backup=backup, storage="dbbackup_copy", copied_at=at, state=BackupState.TAKEN
    )
    return backup


def add_wal(stores: Stores, count: int) -> list[WalSegment]:
    """Closed segments, one an hour from noon on."""
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows = []
    for number in range(count):
        start = number * SEGMENT
        file = segment_at(1, start, SEGMENT)
        name = f"wal/{SYSTEM}/00000001/{file}"
        stores.put(name, 20)
        rows.append(
            WalSegment.objects.create(
                segment=file, timeline=1, object_name=name, system_identifier=SYSTEM, size=20,
                start_lsn=lsn(start), end_lsn=lsn(start + SEGMENT), stored_at=noon,
                closed_at=noon + timedelta(hours=number),
            )
        )  # fmt: skip
    return rows


def test_what_is_there_with_its_size_is_fine(patient: Patient, stores: Stores) -> None:
    add(stores, "full-1", 1)
    add(stores, "base-1", 1, BackupKind.BASE)
    add_wal(stores, 3)
    assert patient.found(stored_objects) == {}


def test_a_file_that_was_moved_away_is_told_by_its_backup_and_verifying_records_it(
    patient: Patient, stores: Stores
) -> None:
    add(stores, "full-1", 30)
    add(stores, "full-2", 6)
    (stores.primary / "full-2.zst").unlink()
    (stores.primary / "manifests/full-1.json").unlink()
    found = patient.found(stored_objects)
    assert {key: each.severity for key, each in found.items()} == {
        "full-2": Severity.CRITICAL,  # the newest that would bring everything back
        "full-1": Severity.WARNING,
    }
    assert "full-2.zst" in found["full-2"].detail
    assert found["full-2"].next_step == "manage.py verify full-2"


def test_one_that_was_cut_short_is_told_and_so_is_a_copy(patient: Patient, stores: Stores) -> None:
    add(stores, "full-1", 30)
    add(stores, "full-2", 6)
    stores.put("full-1.zst", 9)
    (stores.copy / "full-2.zst").unlink()
    found = patient.found(stored_objects)
    assert {key: each.severity for key, each in found.items()} == {
        "full-1": Severity.WARNING, "full-2 in dbbackup_copy": Severity.WARNING,
    }  # fmt: skip
    assert found["full-2 in dbbackup_copy"].next_step == "manage.py verify full-2 --copy"
    # What is known to be damaged is told by another check.
    Backup.objects.filter(name="full-1").update(state=BackupState.FAILED)
    assert list(patient.found(stored_objects)) == ["full-2 in dbbackup_copy"]
    assert list(patient.found(backup_damaged)) == ["full-1"]


def test_segments_that_are_gone_are_told_together_with_the_moments_that_are_lost(
    patient: Patient, stores: Stores
) -> None:
    base = add(stores, "base-1", 1, BackupKind.BASE, start_lsn="0/0", stop_lsn="0/1", timeline=1)
    at = datetime(2026, 11, 20, 11, tzinfo=UTC)
    Backup.objects.filter(pk=base.pk).update(taken_at=at, finished_at=at)
    rows = add_wal(stores, 6)
    for lost in rows[2:4]:
        (stores.primary / lost.object_name).unlink()
    ((key, told),) = patient.found(stored_objects).items()
    assert key == f"wal {SYSTEM} 1 {rows[2].segment}"
    assert told.severity == Severity.CRITICAL
    assert told.next_step == "manage.py backup --base"
    assert "2026-11-20 14:00" in told.detail  # from when on nothing can be restored
    assert rows[3].segment in told.detail
    # A base backup that came later ends what is lost.
    add(stores, "base-2", 0, BackupKind.BASE, start_lsn="0/6000000", stop_lsn="0/6000100")
    told = patient.found(stored_objects)[key]
    assert told.severity == Severity.WARNING
    assert "base-2" in told.detail
    # … and the catalogue, made anew from what is there, knows of the gap.
    take(patient, told.next_step)
    assert key not in patient.found(stored_objects)


def test_a_storage_that_is_away_is_not_taken_for_an_empty_one(
    patient: Patient, stores: Stores
) -> None:
    add(stores, "full-1", 1)
    stores.primary.rename(stores.primary.with_name("unmounted"))
    outcome = patient.run(stored_objects)
    assert outcome.state == CheckState.BLIND
    assert [each.key for each in outcome.reported] == ["!blind"]


def test_what_another_environments_catalogue_tells_is_not_looked_for_here(
    patient: Patient, stores: Stores
) -> None:
    add(stores, "full-1", 1)
    (stores.primary / "full-1.zst").unlink()
    Backup.objects.update(environment="production")
    assert patient.found(stored_objects) == {}


def test_a_bucket_is_listed_page_by_page_and_not_object_by_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with s3_server() as server:
        bucket = server.bucket("listed")
        storage = S3Backups(
            bucket_name=bucket, location="deep/backups", endpoint_url=server.url,
            region_name="us-east-1", addressing_style="path",
            access_key=KEYS["aws_access_key_id"], secret_key=KEYS["aws_secret_access_key"],
        )  # fmt: skip
        for number in range(7):
            server.client.put_object(
                Bucket=bucket, Key=f"deep/backups/wal/{number}", Body=b"x" * (number % 3)
            )
        server.client.put_object(Bucket=bucket, Key="deep/other/1", Body=b"")
        monkeypatch.setattr(S3Backups, "size", None)
        monkeypatch.setattr(s3, "PAGE", 3)
        found = Vault(storage, "dbbackup").sizes()
    assert found == {f"wal/{number}": number % 3 for number in range(7)}
