"""What is called stored is on the disk: the file before it gets its name, then its folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage

from ops.backups.keymaking import make_identity
from ops.backups.media_names import is_unfinished
from ops.backups.media_restore.differences import Choices, Differences
from ops.backups.media_restore.folder_place import FolderPlace
from ops.backups.media_restore.journal import write_journal
from ops.backups.media_restore.procedure import Folders, _Exchange
from ops.backups.media_restore.reading import MediaArchive, Member
from ops.backups.vault import Vault
from ops.postgres import files
from ops.progress import Counter
from ops.restores.accounts.exporting import _written_aside


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return what is flushed to the disk from now on, in this order."""
    seen: list[Path] = []
    fsync: Callable[[int], None] = os.fsync

    def keep(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", keep)
    return seen


def test_an_object_of_a_backup(synced: list[Path], tmp_path: Path) -> None:
    vault = Vault(FileSystemStorage(str(tmp_path)), "dbbackup")
    vault.write("deep/object.dump", b"content")
    aside, folder = synced
    assert aside.name.endswith(".aside")
    assert folder == tmp_path / "deep"
    assert (folder / "object.dump").read_bytes() == b"content"


def test_a_setting_of_the_embedded_server(synced: list[Path], tmp_path: Path) -> None:
    files.write_aside(tmp_path / "postgresql.conf", "x = 1\n", None)
    assert [path.name for path in synced] == ["postgresql.conf.new", tmp_path.name]


def test_a_key(synced: list[Path], tmp_path: Path) -> None:
    make_identity(tmp_path / "identity.txt")
    assert synced[0].parent == tmp_path
    assert synced[-1] == tmp_path


def test_an_archive_of_an_account(synced: list[Path], tmp_path: Path) -> None:
    with _written_aside(tmp_path / "account.zip") as file:
        file.write(b"content")
    assert [path.suffix for path in synced] == [".aside", ""]
    assert synced[-1] == tmp_path


def test_former_files_are_kept_before_the_first_is_replaced(
    synced: list[Path], tmp_path: Path
) -> None:
    folders = Folders(tmp_path / "unpacked", tmp_path / "kept")
    for folder in (folders.unpacked, folders.kept, tmp_path / "media"):
        folder.mkdir()
    (tmp_path / "media" / "a.txt").write_bytes(b"former")
    (folders.unpacked / "0").write_bytes(b"new")
    place = FolderPlace(FileSystemStorage(str(tmp_path / "media")))
    versions = {"a.txt": place.version("a.txt")}
    found = Differences((), ("a.txt",), (), 0, (), versions)
    members = {"a.txt": Member(3, hashlib.sha256(b"new").digest(), 0)}
    archive = MediaArchive(members, {"a.txt": folders.unpacked / "0"})
    _Exchange(found, archive, members, place, folders, Counter()).carry_out(Choices())
    kept = synced.index(folders.kept, synced.index(tmp_path) + 1)
    (replaced,) = [at for at, path in enumerate(synced) if is_unfinished(path.name)]
    assert kept < replaced < synced.index(tmp_path / "media")
    assert (tmp_path / "media" / "a.txt").read_bytes() == b"new"


def test_an_uploaded_file_that_comes_back(synced: list[Path], tmp_path: Path) -> None:
    media, source = tmp_path / "media", tmp_path / "unpacked"
    media.mkdir()
    source.write_bytes(b"a photo")
    place = FolderPlace(FileSystemStorage(str(media)))
    place.put("jobs/photo.jpg", source, 0)
    aside = synced.pop()
    assert (aside.parent, is_unfinished(aside.name)) == (media / "jobs", True)
    place.flush()
    assert synced == [media, media / "jobs"]  # a folder that was made has a name, too
    synced.clear()
    place.remove("jobs/photo.jpg")
    place.flush()
    assert synced == [media / "jobs"]


def test_the_way_back_of_uploaded_files_before_the_first_changes(
    synced: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    write_journal(folder, [], {})
    assert [path.name for path in synced] == ["journal.json.new", folder.name, tmp_path.name]
