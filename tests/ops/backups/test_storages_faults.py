"""A storage that is full, closed, renames, lies or loses: told, with nothing left half-way."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, InMemoryStorage

from ops.backups.errors import DamagedError, MissingObjectError, StorageError
from ops.backups.incoming import receive
from ops.backups.manifest import StoredObject
from ops.backups.vault import Vault
from tests.harness import disks

Mount = Callable[..., Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Return what mounts a small file system of its own, where this machine allows it."""
    with ExitStack() as undo:
        yield lambda options: undo.enter_context(disks.mounted(tmp_path / "disk", options))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def content(data: bytes) -> File[bytes]:
    return ContentFile(data, name="content")


def test_a_full_disk_keeps_what_is_there_and_nothing_of_the_new(mounted: Mount) -> None:
    place = mounted("size=2m")
    vault = Vault.folder(place)
    vault.save("earlier", content(b"x" * 500_000))
    with pytest.raises(StorageError, match=r"is full. Nothing that looks like a backup was left"):
        vault.save("new", content(b"y" * 5_000_000))
    assert files(place) == ["earlier"]
    assert vault.read("earlier", 1_000_000) == b"x" * 500_000
    with pytest.raises(StorageError, match="is full"):
        vault.write("manifests/new.json", b"z" * 5_000_000)
    assert files(place) == ["earlier"]


def test_a_manifest_that_no_longer_fits_leaves_the_former_one(mounted: Mount) -> None:
    place = mounted("size=1m")
    vault = Vault.folder(place)
    vault.write("manifests/a.json", b"former")
    with pytest.raises(StorageError, match="is full"):
        vault.write("manifests/a.json", b"x" * 2_000_000)
    assert vault.read("manifests/a.json", 100) == b"former"


def test_a_folder_that_is_read_only_is_told(mounted: Mount) -> None:
    place = mounted("size=1m")
    vault = Vault.folder(place)
    vault.save("earlier", content(b"x"))
    subprocess.run(["/usr/bin/mount", "-o", "remount,ro", place], check=True)
    for change in (
        lambda: vault.save("new", content(b"y")),
        lambda: vault.write("new", b"y"),
        lambda: vault.delete("earlier"),
    ):
        with pytest.raises(StorageError, match="can't be used: Read-only file system"):
            change()
    assert vault.read("earlier", 10) == b"x"
    assert vault.names() == ["earlier"]


class Renaming(InMemoryStorage):
    """A storage that keeps names as it likes."""

    def _save(self, name: str, content: Any) -> str:
        return str(super()._save(f"{name}_2", content))


class Lying(InMemoryStorage):
    """A storage that says it has more than it has."""

    def size(self, name: str) -> int:
        return int(super().size(name)) + 1


class Forgetful(InMemoryStorage):
    """A storage that keeps the beginning and says so."""

    def _save(self, name: str, content: Any) -> str:
        return str(super()._save(name, ContentFile(content.read(5), name=name)))


class Silent(Forgetful):
    """A storage that keeps the beginning and says it has everything."""

    def size(self, name: str) -> int:
        return 11


def stored(name: str = "x") -> StoredObject:
    digest = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    return StoredObject("archive", name, 11, digest, 11, "none", "none")


def test_a_storage_that_renames_is_refused_and_keeps_nothing() -> None:
    vault = Vault(Renaming(), "dbbackup")
    with pytest.raises(StorageError, match=r"stored x as x_2. It was removed"):
        vault.save("x", content(b"hello world"))
    assert vault.names() == []
    with pytest.raises(StorageError, match=r"refused the name m\.json"):
        vault.write("m.json", b"{}")
    assert vault.names() == []


@pytest.mark.parametrize(("kind", "told"), [(Lying, 12), (Forgetful, 5)])
def test_a_storage_whose_word_differs_keeps_nothing(kind: type[InMemoryStorage], told: int) -> None:
    vault = Vault(kind(), "dbbackup")
    vault.save("x", content(b"hello world"))
    with pytest.raises(StorageError, match=f"says it has {told} bytes of x; it was given 11"):
        vault.require_size(stored())
    assert vault.names() == []


def test_a_storage_that_lies_well_is_found_by_reading() -> None:
    vault = Vault(Silent(), "dbbackup")
    vault.save("x", content(b"hello world"))
    vault.require_size(stored())
    with (
        vault.open("x") as file,
        pytest.raises(DamagedError, match="x is cut off: 5 of 11 bytes are there"),
    ):
        receive(file, stored(), io.BytesIO())


def test_a_disk_that_fails_while_reading_says_nothing_about_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault.folder(tmp_path)
    vault.save("x", content(b"hello world"))

    class Broken(File[bytes]):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(FileSystemStorage, "_open", lambda self, name, mode: Broken(io.BytesIO()))
    with (
        vault.open("x") as file,
        pytest.raises(StorageError, match="can't be used: Input/output error"),
    ):
        receive(file, stored(), io.BytesIO())


def test_a_name_cannot_leave_the_storage(tmp_path: Path) -> None:
    from django.core.exceptions import SuspiciousFileOperation

    vault = Vault.folder(tmp_path / "storage")
    for name in ("../outside", "/etc/outside", "a/../../outside"):
        with pytest.raises(SuspiciousFileOperation):
            vault.save(name, content(b"x"))
    assert files(tmp_path) == []


def test_missing_is_not_the_same_as_unmounted(tmp_path: Path) -> None:
    vault = Vault.folder(tmp_path / "storage")
    with pytest.raises(StorageError, match=r"is not there. Nothing can be said") as caught:
        vault.open("x")
    assert not isinstance(caught.value, MissingObjectError)
    vault.save("y", content(b"1"))
    with pytest.raises(MissingObjectError, match="x is not in the storage"):
        vault.open("x")


def test_files_are_closed_to_other_users_of_the_machine(tmp_path: Path) -> None:
    vault = Vault.folder(tmp_path / "storage")
    vault.save("partial/x", content(b"1"))
    vault.write("manifests/x.json", b"{}")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "storage").rglob("*")}
    assert modes == {
        "partial": 0o700,
        "x": 0o600,
        "manifests": 0o700,
        "x.json": 0o600,
        "unfinished": 0o700,
    }
