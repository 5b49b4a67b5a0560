"""The catalogue from the storage alone: on a machine that has lost its database."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from pytest_django import Settings

from ops.backups import rebuild as rebuilding
from ops.backups.copies import copy_missing
from ops.backups.errors import BackupError, StorageError
from ops.backups.manifest import Manifest
from ops.backups.naming import new_name
from ops.backups.pins import pin
from ops.backups.rebuild import Rebuilt, ask_to_rebuild, rebuild
from ops.backups.vault import Vault
from ops.backups.wal.names import USUAL_SIZE, ObjectName, segment_at
from ops.models import Backup, BackupCopy, Run, WalSegment
from srvc.storage_urls import folder_storage
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.history import backup_of, manifest_of, store

DAY = timedelta(days=1)
_FIELDS = [
    field.name
    for field in Backup._meta.get_fields()
    if field.concrete and field.name not in {"id", "parent", "checked_at"}
]


@pytest.fixture
def second(backups: Backups, tmp_path: Path, settings: Settings) -> Path:
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup_copy": folder_storage(tmp_path / "off-site"),
    }
    return tmp_path / "off-site"


def rebuilt() -> Rebuilt:
    return rebuild(ask_to_rebuild(by=ASKER))


def lose_the_database() -> None:
    BackupCopy.objects.all().delete()
    WalSegment.objects.all().delete()
    Run.objects.all().delete()
    for row in Backup.objects.newest_first():
        row.delete()


def catalogue() -> list[dict[str, Any]]:
    """Everything in the catalogue, without what only this database numbers."""
    rows = Backup.objects.order_by("name").select_related("parent")
    return [
        {
            **{name: getattr(row, name) for name in _FIELDS},
            "parent": row.parent and row.parent.name,
            "copies": [copy.storage for copy in row.copies.all()],
        }
        for row in rows
    ]


def states() -> dict[str, tuple[str, str]]:
    return {row.name: (row.state, row.state_note) for row in Backup.objects.all()}


def test_everything_comes_back_and_a_second_time_changes_nothing(
    backups: Backups, second: Path
) -> None:
    backups.take()
    base = backup_of(kind="base", age=3 * DAY)
    link = backup_of(kind="incremental", age=2 * DAY, parent=base.name)
    backup_of(kind="incremental", age=DAY, parent=link.name)
    media = backup_of(kind="media")
    pin(media, reason="the photos of the fair", by=ASKER)
    copy_missing(by=ASKER)
    segment = ObjectName(
        "7", segment_at(1, 5 << 24, USUAL_SIZE), USUAL_SIZE, datetime.now(UTC), "none"
    ).signed("key", "0" * 64)
    Vault.primary().save(str(segment), ContentFile(b"wal", name="wal"))
    before = catalogue()
    lose_the_database()
    assert catalogue() == []
    done = rebuilt()
    assert catalogue() == before
    assert (done.found, done.copies, done.segments) == (5, 5, 1)
    assert [done.failed, done.missing, done.foreign, done.orphans] == [{}, [], [], []]
    assert WalSegment.objects.get().object_name == str(segment)
    run = Run.objects.get()
    assert (run.kind, run.status) == ("rebuild", "done")
    assert run.message == (
        "The storages hold 5 backups, 5 off-site copies, 1 WAL segments, 0 of django-dbbackup "
        "alone, 0 that can't be trusted, 0 missing, 0 objects without a manifest."
    )
    rebuilt()
    assert catalogue() == before


def test_parents_are_found_in_whatever_order_the_storage_lists(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [backup_of(kind="base", age=9 * DAY)]
    for number in range(8):
        link = backup_of(kind="incremental", age=(8 - number) * DAY, parent=rows[-1].name)
        rows.append(link)
    before = catalogue()
    lose_the_database()
    monkeypatch.setattr(
        Vault, "names", lambda self, folder="": sorted(_listed(self, folder), reverse=True)
    )
    rebuilt()
    assert catalogue() == before


_listed = Vault.names


def test_what_checks_found_stays(backups: Backups) -> None:
    proven, failed = backup_of(state="proven"), backup_of(state="failed")
    Backup.objects.filter(pk=failed.pk).update(state_note="it is not what it was")
    rebuilt()
    assert states() == {
        proven.name: ("proven", ""),
        failed.name: ("failed", "it is not what it was"),
    }


def test_a_manifest_that_cannot_be_trusted_is_listed_with_the_reason(backups: Backups) -> None:
    good, edited, foreign_key, cut, swapped = (backup_of() for _ in range(5))
    folder = backups.folder / "manifests"
    file = folder / f"{edited.name}.json"
    file.write_text(file.read_text().replace('"seconds": 1.0', '"seconds": 0.5'))
    manifest = Manifest.of_row(foreign_key.manifest)
    (folder / f"{foreign_key.name}.json").write_bytes(manifest.signed("another installation's"))
    (folder / f"{cut.name}.json").write_bytes(b'{"name": "srvc')
    (folder / f"{swapped.name}.json").write_bytes((folder / f"{good.name}.json").read_bytes())
    (folder / "holiday.json").write_bytes(b"[]")
    link = manifest_of(kind="incremental", parent="srvc-development-2026-01-01-000000-base-abcdef")
    store(link, Vault.primary())
    unreadable = str(
        new_name(environment="development", taken_at=datetime.now(UTC), kind="incremental")
    )
    (folder / f"{unreadable}.json").write_bytes(b"")
    lose_the_database()
    done = rebuilt()
    assert done.found == 1
    assert {name: why.partition(". ")[0] for name, why in done.failed.items()} == {
        edited.name: (
            f"The manifest of {edited.name} was changed after it was written, or signed with "
            "another BACKUP_SIGNING_KEY"
        ),
        foreign_key.name: (
            f"The manifest of {foreign_key.name} was changed after it was written, or signed with "
            "another BACKUP_SIGNING_KEY"
        ),
        cut.name: f"The manifest of {cut.name} is cut off or no JSON",
        swapped.name: (
            f"The manifest named {swapped.name} is the one of {good.name}: files were swapped or "
            "renamed"
        ),
        "holiday": "The manifest of holiday is no manifest",
        link.name: "The backup it adds to is not in the storage.",
        unreadable: f"The manifest of {unreadable} is cut off or no JSON",
    }
    found = states()
    assert found.pop(good.name) == ("taken", "")
    assert {name: state for name, (state, _) in found.items()} == dict.fromkeys(
        done.failed, "failed"
    )
    assert found[cut.name][1] == f"Found by backups --rebuild: {done.failed[cut.name]}"
    rebuilt()
    assert len(states()) == 8


def test_a_former_signing_key_is_still_good_and_a_lost_one_is_forgiven_when_it_is_back(
    backups: Backups, settings: Settings
) -> None:
    backup = backup_of()
    former = settings.BACKUP_SIGNING_KEY
    lose_the_database()
    settings.BACKUP_SIGNING_KEY = "a new key"
    rebuilt()
    assert states()[backup.name][0] == "failed"
    settings.BACKUP_SIGNING_KEY_FALLBACKS = [former]
    rebuilt()
    assert states() == {backup.name: ("taken", "")}
    settings.BACKUP_SIGNING_KEY = ""
    with pytest.raises(BackupError, match="BACKUP_SIGNING_KEY is not set"):
        rebuilt()


def test_what_is_gone_becomes_missing_and_is_back_when_it_is(backups: Backups) -> None:
    backup, other = backup_of(state="proven"), backup_of()
    file = backups.folder / "manifests" / f"{backup.name}.json"
    aside = file.rename(backups.var / "aside")
    done = rebuilt()
    assert done.missing == [backup.name]
    assert done.orphans == []  # the catalogue still knows whose object that is
    assert states() == {
        backup.name: (
            "missing",
            "Its manifest is not in the storage any more, so it is no backup.",
        ),
        other.name: ("taken", ""),
    }
    aside.rename(file)
    rebuilt()
    assert states() == {backup.name: ("taken", ""), other.name: ("taken", "")}


def test_a_storage_that_is_not_there_makes_nothing_missing(backups: Backups) -> None:
    backup = backup_of()
    backups.folder.rename(backups.var / "unmounted")
    with pytest.raises(StorageError, match="is not there"):
        rebuilt()
    assert states() == {backup.name: ("taken", "")}


def test_backups_in_folders_that_somebody_chose_are_left_alone(
    backups: Backups, tmp_path: Path
) -> None:
    elsewhere = backup_of(Vault.folder(tmp_path / "usb"))
    rebuilt()
    assert states() == {elsewhere.name: ("taken", "")}


def test_the_second_storage_alone_brings_the_catalogue_back(backups: Backups, second: Path) -> None:
    backup = backup_of()
    base = backup_of(kind="base", age=2 * DAY)
    backup_of(kind="incremental", parent=base.name)
    pin(backup, reason="why", by=ASKER)
    copy_missing(by=ASKER)
    lose_the_database()
    backups.folder.rename(backups.var / "burnt")
    backups.folder.mkdir()
    done = rebuilt()
    assert (done.found, done.copies) == (3, 0)
    assert set(Backup.objects.values_list("storage", flat=True)) == {"dbbackup_copy"}
    assert Backup.objects.get(name=backup.name).pin_reason == "why"
    # The first storage is back: it is where they are, the second has the copies.
    backups.folder.rmdir()
    (backups.var / "burnt").rename(backups.folder)
    rebuilt()
    assert set(Backup.objects.values_list("storage", flat=True)) == {"dbbackup"}
    assert BackupCopy.objects.count() == 3


def test_a_copy_that_is_gone_is_missing(backups: Backups, second: Path) -> None:
    backup = backup_of()
    copy_missing(by=ASKER)
    (second / "manifests" / f"{backup.name}.json").unlink()
    rebuilt()
    assert BackupCopy.objects.get().state == "missing"
    assert states() == {backup.name: ("taken", "")}


def test_what_django_dbbackup_made_is_listed_and_left_overs_are_reported(
    backups: Backups,
) -> None:
    (backups.folder).mkdir(parents=True)
    left = f"{new_name(environment='development', taken_at=datetime.now(UTC), kind='full')}.dump"
    for name in ("owner-host-2026-01-02-030405.psql.bin.gz.gpg", left, "readme.txt"):
        (backups.folder / name).write_bytes(b"12345")
    (backups.folder / "host-9999-99-99-999999.tar").write_bytes(b"no date")
    for _ in range(2):
        done = rebuilt()
        assert done.foreign == ["owner-host-2026-01-02-030405.psql.bin.gz.gpg"]
        assert done.orphans == [left]
        row = Backup.objects.get()
        assert (row.name, row.kind, row.state, row.size) == (*done.foreign, "foreign", "taken", 5)
        assert row.taken_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    (backups.folder / row.name).unlink()
    assert rebuilt().missing == [row.name]
    assert states()[row.name][0] == "missing"


def test_many_manifests_are_never_in_memory_together(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault.primary()
    size = 400_000
    for _ in range(40):
        manifest = manifest_of()
        store(
            Manifest.of_row({**manifest.as_json(), "roles_sql": "x" * size}),
            vault,
        )
    seen: list[int] = []
    before = rebuilding.record_backup

    def watched(*arguments: Any) -> Backup:
        seen.append(tracemalloc.get_traced_memory()[0])
        return before(*arguments)

    monkeypatch.setattr(rebuilding, "record_backup", watched)
    tracemalloc.start()
    try:
        assert rebuilt().found == 40
    finally:
        tracemalloc.stop()
    assert max(seen[5:]) - min(seen[5:]) < 5 * size


def test_it_needs_no_key_that_opens_backups(backups: Backups, settings: Settings) -> None:
    backup = backups.take(kind="schema")
    lose_the_database()
    settings.BACKUP_AGE_IDENTITY_FILES = []
    rebuilt()
    row = Backup.objects.get()
    assert (row.name, row.encryption) == (backup.name, "age")
    assert json.loads((backups.folder / "manifests" / f"{row.name}.json").read_text())["objects"]
