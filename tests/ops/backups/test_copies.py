"""The off-site copy: checked on its way, never in the way of the backup itself, made up for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from ops.backups.copies import ask_for_copy, copy_backup, copy_missing, has_copy
from ops.backups.errors import BackupError, DamagedError, StorageError
from ops.backups.pins import pin, read_pin
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.models import Backup, BackupCopy, Run
from ops.progress import CancelledError, Counter
from srvc.storage_urls import folder_storage
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.history import backup_of


@pytest.fixture
def second(backups: Backups, tmp_path: Path, settings: Settings) -> Path:
    """Return the folder of a second storage."""
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup_copy": folder_storage(tmp_path / "off-site"),
    }
    return tmp_path / "off-site"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def copied(backup: Backup) -> BackupCopy:
    return copy_backup(ask_for_copy(backup, by=ASKER))


def test_a_backup_is_copied_as_it_is_taken(backups: Backups, second: Path) -> None:
    backup = backups.take()
    assert names(second) == backups.stored
    for name in backups.stored:
        assert (second / name).read_bytes() == (backups.folder / name).read_bytes()
    copy = BackupCopy.objects.get()
    assert (copy.backup, copy.storage, copy.state) == (backup, "dbbackup_copy", "taken")
    assert [(run.kind, run.status, run.backup) for run in Run.objects.order_by("pk")] == [
        ("backup", "done", backup),
        ("copy", "done", backup),
    ]


def test_a_copy_that_fails_leaves_the_backup_good_and_is_made_up_for(
    backups: Backups, second: Path
) -> None:
    second.write_text("a file where the folder belongs")
    backup = backups.take()
    assert backup.state == "taken"
    assert not has_copy(backup)
    run = Run.objects.get(kind="copy")
    assert run.status == "failed"
    assert run.message.startswith("The storage dbbackup_copy can't be used: Not a directory.")
    second.unlink()
    later = backups.take(kind="schema")
    assert set(BackupCopy.objects.values_list("backup__name", flat=True)) == {
        backup.name,
        later.name,
    }


def test_what_is_missing_is_copied_oldest_first_and_only_what_the_plan_would_keep(
    backups: Backups, second: Path, settings: Settings
) -> None:
    full = {"cadence": "daily 02:00", "keep": {"daily": 3}}
    kinds = {**settings.BACKUP_PLAN["kinds"], "full": full}
    settings.BACKUP_COPY_PLAN = {**settings.BACKUP_PLAN, "kinds": kinds}
    base = backup_of(kind="base", age=timedelta(days=2))
    old = backup_of(age=timedelta(days=3_000))
    incremental = backup_of(kind="incremental", age=timedelta(days=1), parent=base.name)
    backup_of(age=timedelta(days=900), state="failed")
    new = backup_of()
    year = timedelta(days=366)
    for age in range(1, 5):
        backup_of(age=age * year)
    runs = copy_missing(by=ASKER)
    assert [run.status for run in runs] == ["done"] * len(runs)
    order = [run.subject for run in runs]
    assert [name for name in order if name in {base.name, incremental.name, new.name}] == [
        base.name,
        incremental.name,
        new.name,
    ]
    assert not has_copy(old)
    assert copy_missing(by=ASKER) == []


def test_what_a_backup_adds_to_is_copied_before_it(backups: Backups, second: Path) -> None:
    base = backup_of(kind="base", age=timedelta(days=2))
    incremental = backup_of(kind="incremental", parent=base.name)
    full = backup_of(age=timedelta(days=5))
    runs = copy_missing(by=ASKER, first=incremental)
    assert [run.subject for run in runs] == [base.name, incremental.name, full.name]


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize(
    "damage", [flipped, lambda content: content[:-1], lambda content: content + b"x"]
)
def test_what_is_not_as_its_manifest_says_is_not_copied(
    backups: Backups, second: Path, damage: Callable[[bytes], bytes]
) -> None:
    backup = backup_of()
    file = backups.folder / f"{backup.name}.dump.zst"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DamagedError, match="is not what its manifest says, so it was not copied"):
        copied(backup)
    assert names(second) == []
    assert not BackupCopy.objects.exists()


def test_a_damaged_one_does_not_keep_the_others_from_being_copied(
    backups: Backups, second: Path
) -> None:
    damaged, good = backup_of(age=timedelta(days=1)), backup_of()
    (backups.folder / f"{damaged.name}.dump.zst").write_bytes(b"something else!")
    assert [(run.subject, run.status) for run in copy_missing(by=ASKER)] == [
        (damaged.name, "failed"),
        (good.name, "done"),
    ]


def _again(run: Run) -> Run:
    run.refresh_from_db()
    return run


def test_an_edited_manifest_is_not_copied(backups: Backups, second: Path) -> None:
    backup = backup_of()
    file = backups.folder / "manifests" / f"{backup.name}.json"
    file.write_text(file.read_text().replace('"seconds": 1.0', '"seconds": 2.0'))
    with pytest.raises(DamagedError, match="was changed after it was written"):
        copied(backup)
    assert names(second) == []


def test_what_a_killed_copy_left_is_written_anew(backups: Backups, second: Path) -> None:
    backup = backup_of()
    second.mkdir()
    (second / f"{backup.name}.dump.zst").write_bytes(b"half of")
    copied(backup)
    assert names(second) == backups.stored
    assert (second / f"{backup.name}.dump.zst").read_bytes() == b"PGDMP and so on"


def test_what_is_there_already_is_not_sent_again(backups: Backups, second: Path) -> None:
    backup = backup_of()
    copied(backup)
    BackupCopy.objects.all().delete()
    before = (second / f"{backup.name}.dump.zst").stat().st_mtime_ns
    copied(backup)
    assert (second / f"{backup.name}.dump.zst").stat().st_mtime_ns == before
    assert BackupCopy.objects.count() == 1


def test_a_pin_goes_along(backups: Backups, second: Path) -> None:
    backup = backup_of()
    pin(backup, reason="why", by=ASKER)
    copied(Backup.objects.get())
    target = Vault.second()
    assert target is not None
    assert read_pin(target, backup.name).reason == "why"


def test_a_copy_can_be_stopped_and_leaves_nothing(backups: Backups, second: Path) -> None:
    backup = backup_of()
    progress = Counter()
    progress.cancel()
    with pytest.raises(CancelledError):
        copy_backup(ask_for_copy(backup, by=ASKER), progress)
    assert names(second) == []
    assert _again(Run.objects.get()).status == "cancelled"


def test_two_copies_at_once_do_not_get_into_each_others_way(backups: Backups, second: Path) -> None:
    backup = backup_of()
    with backups.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [0x53525643, 32])
        with pytest.raises(BackupError, match=r"Another copy is under way. Nothing was copied"):
            copied(backup)
    copied(backup)


def test_without_a_second_storage_nothing_is_copied_and_nothing_is_missing(
    backups: Backups,
) -> None:
    backup = backup_of()
    assert has_copy(backup)
    assert copy_missing(by=ASKER) == []
    with pytest.raises(OpsError, match=r"There is no second storage. Nothing was copied"):
        copied(backup)


def test_a_storage_that_lies_about_sizes_has_no_copy(
    backups: Backups, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = backup_of()
    target = Vault.second()
    assert target is not None
    monkeypatch.setattr(target.storage, "size", lambda name: 14)
    with pytest.raises(StorageError, match=r"says it has 14 bytes of .* it was given 15"):
        copied(backup)
    assert names(second) == []
