"""A pinned backup says why it is kept, in the catalogue and beside it in the storage."""

from __future__ import annotations

import json

import pytest

from ops.backups.errors import BackupError, DamagedError, StorageError
from ops.backups.pins import pin, pin_name, read_pin, unpin
from ops.backups.vault import Vault
from ops.models import Run
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.history import backup_of


def test_a_pin_is_a_row_a_signed_file_and_a_record(backups: Backups) -> None:
    backup = backup_of()
    row = pin(backup, reason="  before the\nmove ", by=ASKER)
    assert (row.pin_reason, row.pinned_by) == ("before the move", "tester@example.com")
    found = read_pin(Vault.primary(), backup.name)
    assert (found.reason, found.by, found.at) == (row.pin_reason, row.pinned_by, row.pinned_at)
    assert [(run.kind, run.status, run.message) for run in Run.objects.all()] == [
        ("pin", "done", "Pinned: before the move.")
    ]
    row = unpin(backup, by=ASKER)
    assert (row.pinned_at, row.pin_reason) == (None, "")
    assert not Vault.primary().exists(pin_name(backup.name))


def test_a_pin_without_a_reason_is_none(backups: Backups) -> None:
    backup = backup_of()
    with pytest.raises(BackupError, match="was not pinned: a pin needs a reason"):
        pin(backup, reason=" \n", by=ASKER)
    with pytest.raises(BackupError, match="has 301 characters; 300 are the most"):
        pin(backup, reason="x" * 301, by=ASKER)
    with pytest.raises(BackupError, match=r"is not pinned. Nothing was changed"):
        unpin(backup, by=ASKER)
    backup.refresh_from_db()
    assert backup.pinned_at is None
    assert not Run.objects.exists()


def test_a_storage_that_refuses_leaves_it_as_it_was(backups: Backups) -> None:
    backup = backup_of()
    (backups.folder / "pins").write_text("a file where the folder belongs")
    with pytest.raises(StorageError):
        pin(backup, reason="why", by=ASKER)
    backup.refresh_from_db()
    assert backup.pinned_at is None


def test_a_pin_that_somebody_wrote_or_moved_is_not_believed(backups: Backups) -> None:
    backup, other = backup_of(), backup_of()
    pin(backup, reason="why", by=ASKER)
    vault = Vault.primary()
    content = vault.read(pin_name(backup.name), 10_000)
    vault.write(pin_name(other.name), content)
    with pytest.raises(DamagedError, match="another backup's"):
        read_pin(vault, other.name)
    edited = {**json.loads(content), "reason": "because I say so"}
    vault.write(pin_name(backup.name), json.dumps(edited).encode())
    with pytest.raises(DamagedError, match="was changed"):
        read_pin(vault, backup.name)
    for broken in (b"", b"[]", b"{}", b"\xff", content[:40]):
        vault.write(pin_name(backup.name), broken)
        with pytest.raises(DamagedError, match=f"The pin of {backup.name} can't be read"):
            read_pin(vault, backup.name)
    # A manifest is signed by the same key, and is no pin all the same.
    vault.write(pin_name(backup.name), vault.read(f"manifests/{backup.name}.json", 1_000_000))
    with pytest.raises(DamagedError):
        read_pin(vault, backup.name)
