"""What a check makes of a backup's state, and what leaves it as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.backups.errors import BackupError, StorageError
from ops.backups.manifest import Manifest
from ops.backups.verify import STALE, ask_for_verification, verify_backup
from ops.errors import OpsError
from ops.models import Backup, BackupCopy, BackupKind, BackupState, Run, RunKind, RunStatus
from ops.postgres.errors import ToolError
from ops.progress import CancelledError, Counter
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups


def verify(backup: Backup, *, deep: bool = False) -> Backup:
    checked = verify_backup(ask_for_verification(backup, by=ASKER, deep=deep))
    assert isinstance(checked, Backup)
    return Backup.objects.get(pk=checked.pk)


def archive(backups: Backups, backup: Backup) -> Path:
    return backups.folder / Manifest.of_row(backup.manifest).archive.name


def damage(path: Path) -> Callable[[], None]:
    """Change a byte; returns what mends it."""
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    return lambda: path.write_bytes(before) and None


def test_a_good_one_is_verified_and_says_when_and_how_long(backups: Backups) -> None:
    taken = backups.take()
    before = timezone.now()

    found = verify(taken)

    assert (found.state, found.state_note) == (BackupState.VERIFIED, "")
    assert found.verified_at is not None
    assert before < found.verified_at == found.checked_at
    assert found.check_seconds is not None
    assert found.check_seconds > 0
    assert found.proven_at is None
    run = Run.objects.get(kind=RunKind.VERIFY)
    assert (run.status, run.backup, run.subject) == (RunStatus.DONE, taken, taken.name)
    assert run.message == f"{taken.name}: verified."


def test_a_restored_and_compared_one_is_proven_and_stays_so(backups: Backups) -> None:
    taken = backups.take()

    proven = verify(taken, deep=True)

    assert proven.state == BackupState.PROVEN
    assert proven.state_note.startswith("Restored and equal: ")
    assert proven.proven_at == proven.verified_at
    assert Run.objects.get(kind=RunKind.PROVE).status == RunStatus.DONE
    again = verify(taken)
    assert (again.state, again.proven_at) == (BackupState.PROVEN, proven.proven_at)
    assert again.verified_at is not None
    assert proven.verified_at is not None
    assert again.verified_at > proven.verified_at


def test_one_once_proven_and_now_damaged_has_failed_until_it_is_itself_again(
    backups: Backups,
) -> None:
    taken = backups.take()
    Backup.objects.filter(pk=taken.pk).update(
        state=BackupState.PROVEN, proven_at=timezone.now(), verified_at=timezone.now()
    )
    mend = damage(archive(backups, taken))

    found = verify(taken)

    assert found.state == BackupState.FAILED
    assert found.state_note == (
        f"{taken.name}.dump.zst.age was changed after it was stored: its SHA-256 is not the "
        "manifest's."
    )
    mend()
    assert verify(taken).state == BackupState.PROVEN


def test_what_a_restore_disproved_no_light_check_forgives(backups: Backups) -> None:
    taken = backups.take()
    disproven_at = timezone.now()
    Backup.objects.filter(pk=taken.pk).update(
        state=BackupState.FAILED, proven_at=None, disproven_at=disproven_at
    )

    found = verify(taken)

    assert found.state == BackupState.FAILED
    assert found.state_note == (
        f"A restore of it differed from its manifest on {disproven_at:%Y-%m-%d %H:%M} UTC; only "
        "another one can clear that."
    )
    again = verify(taken, deep=True)
    assert (again.state, again.disproven_at) == (BackupState.PROVEN, None)


def test_a_restore_that_differs_is_remembered(backups: Backups) -> None:
    taken = backups.take()
    manifest = Manifest.of_row(taken.manifest)
    assert manifest.proof is not None
    forged = json.loads(json.dumps(manifest.proof))
    where = next(table for table in forged["tables"] if table["rows"])
    where["content"] = "0" * 32
    path = backups.folder / manifest.object_name
    path.write_bytes(replace(manifest, proof=forged).signed(SIGNING_KEY))

    found = verify(taken, deep=True)

    assert found.state == BackupState.FAILED
    assert found.state_note == (
        f"Restored, it is not what its manifest says. {where['schema']}.{where['name']} has as "
        "many rows, but other content."
    )
    assert found.disproven_at == found.checked_at


@pytest.mark.parametrize("part", ["archive", "manifest"])
def test_one_that_is_gone_is_missing_until_it_is_back(part: str, backups: Backups) -> None:
    taken = backups.take()
    path = (
        archive(backups, taken)
        if part == "archive"
        else backups.folder / f"manifests/{taken.name}.json"
    )
    aside = path.rename(backups.var / "aside")

    found = verify(taken)

    assert found.state == BackupState.MISSING
    assert "is not in the storage dbbackup" in found.state_note
    aside.rename(path)
    assert verify(taken).state == BackupState.VERIFIED


def test_a_storage_out_of_reach_says_nothing_about_its_backups(backups: Backups) -> None:
    taken = verify(backups.take())
    shutil.move(backups.folder, backups.var / "not mounted")

    with pytest.raises(StorageError, match="nothing is known about what was in it"):
        verify(taken)

    kept = Backup.objects.get(pk=taken.pk)
    assert (kept.state, kept.checked_at) == (BackupState.VERIFIED, taken.checked_at)
    run = Run.objects.newest_first()[0]
    assert run.status == RunStatus.FAILED
    assert "is not there" in run.message


def test_one_that_cannot_be_opened_here_is_not_verified(
    backups: Backups, settings: Settings
) -> None:
    taken = backups.take()
    size = taken.size
    settings.BACKUP_AGE_IDENTITY_FILES = []

    found = verify(taken, deep=True)

    assert found.state == BackupState.TAKEN
    assert found.verified_at is None
    assert found.state_note.startswith(
        f"Its {size:,} bytes are as they were stored, but it could not be read. It is encrypted to "
    )
    mend = damage(archive(backups, taken))
    assert verify(taken).state == BackupState.FAILED
    mend()
    assert verify(taken).state == BackupState.TAKEN


def test_one_that_was_verified_elsewhere_stays_so_where_it_cannot_be_opened(
    backups: Backups, settings: Settings
) -> None:
    taken = verify(backups.take())
    settings.BACKUP_AGE_IDENTITY_FILES = []

    found = verify(taken)

    assert (found.state, found.verified_at) == (BackupState.VERIFIED, taken.verified_at)


def test_a_row_that_says_otherwise_is_told_and_proves_nothing(backups: Backups) -> None:
    taken = backups.take()
    manifest = {**taken.manifest, "seconds": 0.5}
    Backup.objects.filter(pk=taken.pk).update(manifest=manifest, proven_at=timezone.now())

    found = verify(taken)

    assert (found.state, found.state_note) == (BackupState.VERIFIED, STALE)


def test_a_newer_programs_dump_is_not_judged(backups: Backups) -> None:
    taken = verify(backups.take())
    manifest = Manifest.of_row(taken.manifest)
    content = replace(manifest, programs={"pg_dump": "29"}).signed(SIGNING_KEY)
    (backups.folder / manifest.object_name).write_bytes(content)

    with pytest.raises(ToolError, match=r"No pg_restore of PostgreSQL 29 was found"):
        verify(taken)

    assert Backup.objects.get(pk=taken.pk).state == BackupState.VERIFIED


def test_a_copy_is_checked_by_itself(backups: Backups, tmp_path: Path) -> None:
    taken = backups.take()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(backups.folder, elsewhere)
    copy = BackupCopy.objects.create(backup=taken, storage=str(elsewhere), copied_at=timezone.now())
    damage(elsewhere / Manifest.of_row(taken.manifest).archive.name)

    run = ask_for_verification(copy, by=ASKER)
    found = verify_backup(run)

    assert isinstance(found, BackupCopy)
    copy.refresh_from_db()
    assert copy.state == BackupState.FAILED
    assert copy.state_note.endswith("its SHA-256 is not the manifest's.")
    assert run.subject == f"{taken.name} in {elsewhere}"
    assert Backup.objects.get(pk=taken.pk).state == BackupState.TAKEN


@pytest.mark.parametrize("deep", [False, True])
def test_one_without_manifest_is_never_more_than_taken(deep: bool, backups: Backups) -> None:
    taken = backups.take(encrypt=False)
    import zstandard

    raw = (
        zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress(archive(backups, taken).read_bytes())
    )
    name = "default-host-2026-03-02-101112.psql.bin"
    (backups.folder / name).write_bytes(raw)
    foreign = Backup.objects.create(
        name=name, kind=BackupKind.FOREIGN, environment="", taken_at=timezone.now()
    )

    found = verify(foreign, deep=deep)

    assert (found.state, found.verified_at) == (BackupState.TAKEN, None)
    assert found.state_note.startswith(
        "It has no manifest, so nothing proves what was in it. It can be read to its end: "
    )
    (backups.folder / name).write_bytes(raw[:-1])
    found = verify(foreign, deep=deep)
    assert found.state == BackupState.FAILED
    assert "the dump in it can't be read to its end" in found.state_note


def test_a_backup_deleted_meanwhile_is_told(backups: Backups) -> None:
    taken = backups.take()
    run = ask_for_verification(taken, by=ASKER)
    Backup.objects.filter(pk=taken.pk).delete()

    with pytest.raises(BackupError, match=rf"{taken.name} is not in the catalogue any more"):
        verify_backup(Run.objects.get(pk=run.pk))


class _Impatient(Counter):
    """Cancels as soon as a phase begins."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self._when = phase

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        super().phase(name, total, unit)
        if name.startswith(self._when):
            self.cancel()


@pytest.mark.parametrize("phase", ["reading", "restoring", "building", "comparing"])
def test_a_cancelled_check_changes_nothing_and_leaves_nothing(phase: str, backups: Backups) -> None:
    taken = backups.take()

    with pytest.raises(CancelledError):
        verify_backup(ask_for_verification(taken, by=ASKER, deep=True), _Impatient(phase))

    kept = Backup.objects.get(pk=taken.pk)
    assert (kept.state, kept.checked_at) == (BackupState.TAKEN, None)
    assert Run.objects.newest_first()[0].status == RunStatus.CANCELLED
    assert not list((backups.var / "scratch").glob("*"))


def test_what_looks_like_damage_after_somebody_cancelled_is_not_believed(backups: Backups) -> None:
    taken = backups.take()
    archive = backups.folder / taken.manifest["objects"][0]["name"]
    archive.write_bytes(archive.read_bytes()[:-1])

    with pytest.raises(CancelledError):
        verify_backup(ask_for_verification(taken, by=ASKER), _Impatient("reading the manifest"))
    assert Backup.objects.get(pk=taken.pk).state == BackupState.TAKEN

    verify_backup(ask_for_verification(taken, by=ASKER))
    assert Backup.objects.get(pk=taken.pk).state == BackupState.FAILED


def test_expected_failures_are_sentences(backups: Backups) -> None:
    taken = backups.take()
    (backups.folder / f"manifests/{taken.name}.json").unlink()
    (backups.folder / f"manifests/{taken.name}.json").mkdir()

    with pytest.raises(OpsError, match="can't be used"):
        verify(taken)
