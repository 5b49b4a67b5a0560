"""What killed processes leave: never taken for a backup, removed when it is surely nobody's."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from ops.backups.leftovers import leftovers, orphans
from ops.backups.naming import new_name
from ops.backups.retention import ask_to_prune, prune
from ops.backups.take import Request, ask_for_backup
from ops.backups.vault import Vault
from ops.runs import running
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.history import backup_of
from tests.ops.backups.s3server import KEYS, s3_server

NAME = str(new_name(environment="development", taken_at=datetime.now(UTC), kind="full"))
THEIRS = str(new_name(environment="production", taken_at=datetime.now(UTC), kind="full"))
LEFT = [
    f"{NAME}.dump.zst.age",
    f"{NAME}.dump.zst.age.metadata",
    f"partial/{NAME}.dump.zst",
    f"physical/{NAME}.tar.zst.age",
    f"pins/{NAME}.json",
    f"unfinished/.{NAME}.dump.zst.age.4711.aside",
    f"unfinished/.{NAME}.json.4711.aside",
]
OTHERS = [
    "holiday.jpg",
    "unfinished/symphony.mid",
    "owner-host-2026-01-02-030405.psql.bin",
    f"{THEIRS}.dump.zst.age",
]


def lay(folder: Path, names: list[str], age: timedelta) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
        moment = time.time() - age.total_seconds()
        os.utime(path, (moment, moment))


def test_what_is_older_than_a_day_is_removed_and_nothing_else(backups: Backups) -> None:
    backup = backup_of(age=timedelta(days=2))
    kept = backups.stored
    lay(backups.folder, [*LEFT, *OTHERS], timedelta(hours=25))
    found = {
        leftover.name: leftover.what for leftover in leftovers(Vault.primary(), datetime.now(UTC))
    }
    assert found == {
        LEFT[0]: "an object without a manifest",
        LEFT[1]: "metadata without a manifest",
        LEFT[2]: "an object without a manifest",
        LEFT[3]: "an object without a manifest",
        LEFT[4]: "a pin of no backup",
        LEFT[5]: "an unfinished file",
        LEFT[6]: "an unfinished file",
    }
    trial = prune(ask_to_prune(by=ASKER), dry_run=True)
    assert sorted(leftover.name for _, leftover in trial.leftovers) == sorted(LEFT)
    assert set(LEFT) <= set(backups.stored)
    prune(ask_to_prune(by=ASKER))
    assert backups.stored == sorted([*kept, *OTHERS])
    assert backup.name in kept[0]


def test_what_is_younger_stays(backups: Backups) -> None:
    lay(backups.folder, LEFT, timedelta(hours=23))
    assert leftovers(Vault.primary(), datetime.now(UTC)) == []
    assert orphans(Vault.primary()) == [LEFT[0], LEFT[1], LEFT[2], LEFT[3], LEFT[4]]


def test_nothing_is_a_leftover_while_a_backup_is_being_taken(backups: Backups) -> None:
    lay(backups.folder, LEFT, timedelta(days=3))
    with running(ask_for_backup(Request(), by=ASKER)):
        assert leftovers(Vault.primary(), datetime.now(UTC)) == []
    assert len(leftovers(Vault.primary(), datetime.now(UTC))) == 7


def test_an_object_that_the_catalogue_knows_is_none_although_its_manifest_is_gone(
    backups: Backups,
) -> None:
    backup = backup_of()
    (backups.folder / "manifests" / f"{backup.name}.json").unlink()
    lay(backups.folder, backups.stored, timedelta(days=3))
    assert leftovers(Vault.primary(), datetime.now(UTC)) == []


def test_uploads_that_nobody_completed_are_removed(
    backups: Backups, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        bucket = server.bucket("uploads")
        options = {"bucket_name": bucket, "endpoint_url": server.url, "location": "here"}
        options |= {"access_key": KEYS["aws_access_key_id"], "region_name": "us-east-1"}
        options |= {"secret_key": KEYS["aws_secret_access_key"], "addressing_style": "path"}
        entry = {"BACKEND": "ops.backups.s3.S3Backups", "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "dbbackup": entry}
        server.client.create_multipart_upload(Bucket=bucket, Key=f"here/{NAME}.dump.zst.age")
        server.client.create_multipart_upload(Bucket=bucket, Key="elsewhere/x")
        # To this server every upload began in 2010.
        with monkeypatch.context() as patient:
            patient.setattr("ops.backups.leftovers.SAFE_AGE", timedelta(days=36_500))
            assert leftovers(Vault.primary(), datetime.now(UTC)) == []
        prune(ask_to_prune(by=ASKER))
        assert server.open_uploads(bucket) == ["elsewhere/x"]
