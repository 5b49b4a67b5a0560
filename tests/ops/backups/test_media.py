"""Uploaded files: one tar, streamed, told in the manifest to the last byte."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from pytest_django import Settings

from ops.backups import media
from ops.backups.errors import BackupError, DamagedError
from ops.backups.incoming import receive
from ops.backups.manifest import Manifest
from ops.backups.media import MediaContents, contents_of
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup
from tests.ops.backups.conftest import ASKER, Backups

FILES = {
    "a.txt": b"hello",
    "empty": b"",
    "Größe & Maß.png": b"\x89PNG" * 1_000,
    "jobs/1/" + "x" * 200 + ".jpg": b"long name",
    "jobs/2/two.bin": b"\1" * 700_000,
}


@pytest.fixture
def uploads(tmp_path: Path, settings: Settings) -> Path:
    """Return the folder of uploaded files, with some in it."""
    folder = tmp_path / "media"
    settings.MEDIA_ROOT = str(folder)
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "unused").mkdir()
    return folder


def tar_of(backup: Backup) -> bytes:
    manifest = Manifest.of_row(backup.manifest)
    sink = io.BytesIO()
    with Vault.primary().open(manifest.archive.name) as file:
        receive(file, manifest.archive, sink)
    return sink.getvalue()


def unpacked(tar: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


def test_every_file_is_in_it_and_the_manifest_tells_which(backups: Backups, uploads: Path) -> None:
    backup = backups.take(kind="media")
    tar = tar_of(backup)
    assert unpacked(tar) == FILES
    assert contents_of(io.BytesIO(tar)).as_json() == backup.manifest["details"]
    assert backup.manifest["details"]["files"] == 5
    assert backup.manifest["details"]["bytes"] == sum(map(len, FILES.values()))
    assert (backup.kind, backup.encryption, backup.tables, backup.rows) == (
        "media",
        "age",
        None,
        None,
    )
    assert backups.stored == sorted([f"{backup.name}.tar.zst.age", f"manifests/{backup.name}.json"])
    assert (uploads / "a.txt").read_bytes() == b"hello"


def test_it_is_verified_and_other_files_of_the_same_size_are_found(
    backups: Backups, uploads: Path
) -> None:
    backup = backups.take(kind="media")
    verify_backup(ask_for_verification(backup, deep=False, by=ASKER))
    backup.refresh_from_db()
    assert backup.state == "verified"
    manifest = Manifest.of_row(backup.manifest)
    details = {**manifest.details, "digest": "0" * 64}
    edited = Manifest.of_row({**manifest.as_json(), "details": details})
    key = "a signing key for tests"
    Vault.primary().write(edited.object_name, edited.signed(key))
    verify_backup(ask_for_verification(backup, deep=False, by=ASKER))
    backup.refresh_from_db()
    assert backup.state == "failed"
    assert "or of other ones" in backup.state_note


def test_without_any_upload_there_is_a_whole_backup_of_nothing(
    backups: Backups, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = str(tmp_path / "never made")
    backup = backups.take(kind="media")
    assert unpacked(tar_of(backup)) == {}
    assert backup.manifest["details"]["files"] == 0


def test_a_file_that_is_deleted_meanwhile_is_left_out(
    backups: Backups, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage: Any = storages["default"]
    listed = type(storage).listdir

    def and_gone(self: Any, path: str) -> Any:
        folders, files = listed(self, path)
        return folders, [*files, "gone"] if not path else files

    monkeypatch.setattr(type(storage), "listdir", and_gone)
    backup = backups.take(kind="media")
    assert unpacked(tar_of(backup)) == FILES


def test_a_small_file_that_is_being_written_is_one_state_of_it(
    backups: Backups, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = type(storages["default"]).open

    def growing(self: Any, name: str, mode: str = "rb") -> Any:
        file = opened(self, name, mode)
        assert file.size >= 0  # asked for before it grows
        with (uploads / name).open("ab") as more:
            more.write(b"!")
        return file

    monkeypatch.setattr(type(storages["default"]), "open", growing)
    from ops.backups import keys
    from ops.progress import Counter

    manifest = media.take_media("", keys.encryption(), Vault.primary(), Counter())
    sink = io.BytesIO()
    with Vault.primary().open(manifest.archive.name) as file:
        receive(file, manifest.archive, sink)
    assert contents_of(io.BytesIO(sink.getvalue())).as_json() == manifest.details


def test_a_large_file_that_gets_shorter_gives_the_backup_up(
    backups: Backups, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "_SMALL", 100)
    large = uploads / "jobs" / "2" / "two.bin"
    before = media._pieces

    def cut(file: Any, name: str, size: int) -> Iterator[bytes]:
        if name == "jobs/2/two.bin":
            os.truncate(large, 10)
        return before(file, name, size)

    monkeypatch.setattr(media, "_pieces", cut)
    with pytest.raises(BackupError, match=r"two\.bin got shorter while it was read"):
        backups.take(kind="media")
    assert backups.stored == []


def test_a_file_that_cannot_be_read_is_named(
    backups: Backups, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = type(storages["default"]).open

    def refused(self: Any, name: str, mode: str = "rb") -> Any:
        if name == "empty":
            raise PermissionError(13, "Permission denied")
        return opened(self, name, mode)

    monkeypatch.setattr(type(storages["default"]), "open", refused)
    with pytest.raises(BackupError, match=r"empty can't be read: Permission denied\. A backup"):
        backups.take(kind="media")
    assert backups.stored == []


@pytest.mark.parametrize("cut", [100, 5_000, -1_024])
def test_a_tar_that_ends_in_the_middle_is_found(cut: int, backups: Backups, uploads: Path) -> None:
    tar = tar_of(backups.take(kind="media"))
    with pytest.raises(DamagedError):
        contents_of(io.BytesIO(tar[:cut]))


def test_the_digest_does_not_depend_on_how_a_tar_was_made(uploads: Path, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("Größe & Maß.png", "a.txt", "jobs/1/" + "x" * 200 + ".jpg"):
            archive.add(uploads / name, name)
    found = contents_of(io.BytesIO(made.getvalue()))
    assert isinstance(found, MediaContents)
    assert (found.files, found.bytes) == (3, 4_000 + 5 + 9)
    assert found.raw_size == len(made.getvalue())


# It leaves the file that it has read open.
@pytest.mark.usefixtures("forgiven_spools")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_django_dbbackup_unpacks_what_is_not_encrypted(
    backups: Backups, uploads: Path, tmp_path: Path, settings: Settings
) -> None:
    """A tar is a tar: opened by us, its mediarestore takes it."""
    backup = backups.take(kind="media", encrypt=False)
    plain = tmp_path / f"{backup.name}.tar"
    plain.write_bytes(tar_of(backup))
    settings.MEDIA_ROOT = str(tmp_path / "restored")
    call_command("mediarestore", input_path=str(plain), interactive=False, quiet=True)
    for name, content in FILES.items():
        assert (tmp_path / "restored" / name).read_bytes() == content
