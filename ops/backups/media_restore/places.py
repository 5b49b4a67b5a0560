"""Where uploaded files are: a folder of this machine, or any other storage of Django's.

In a folder a file gets its name when it is whole and on the disk, by a rename: readers see the
former one or the new one. Other storages replace an object in one step where they can.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from django.core.exceptions import SuspiciousOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage

from ops.backups.errors import BackupError
from ops.backups.media_names import is_unfinished, unfinished_name
from ops.postgres.files import sync_folder

_CHUNK = 1 << 20
_READABLE = 0o644  # as Django gives uploads by default


class Version(NamedTuple):
    """What tells one state of an uploaded file from the next, without reading it."""

    size: int
    changed: float


class Place(Protocol):
    """Where uploaded files are."""

    def names(self) -> Iterator[str]:
        """Yield the name of every file."""

    def version(self, name: str) -> Version | None:
        """Return what is there under a name; None: nothing. Raises BackupError for a folder."""

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of a file's content."""

    def keep(self, name: str, target: Path) -> None:
        """Put a durable copy of a file into a private one that does not exist yet."""

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Move a file that is on the disk under its name, in place of what is there."""

    def put_back(self, name: str, kept: Path) -> None:
        """Move a kept file under its name again, with owner and mode as they were."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def flush(self) -> None:
        """Let every name that was given or taken survive a power cut."""

    def missing_room(self, size: int, folder: Path) -> str:
        """Return why so many bytes, unpacked in a folder first, don't fit; or nothing."""


def place_of(storage: Storage) -> Place:
    """Return how files are put into a storage."""
    return FolderPlace(storage) if isinstance(storage, FileSystemStorage) else StoragePlace(storage)


class FolderPlace:
    """A folder of this machine."""

    def __init__(self, storage: FileSystemStorage) -> None:
        self._storage, self._touched = storage, set[Path]()
        self.root = Path(storage.path(""))

    def names(self) -> Iterator[str]:
        """Yield the name of every file; what a killed restore left is removed instead."""
        with _told("the folder of uploaded files"):
            for folder, _, files in os.walk(self.root, onerror=_raise, followlinks=True):
                for file in sorted(files):
                    path = Path(folder, file)
                    if is_unfinished(file):
                        path.unlink(missing_ok=True)
                    else:
                        yield path.relative_to(self.root).as_posix()

    def version(self, name: str) -> Version | None:
        """Return size and time of a file; None when there is none."""
        with _told(name):
            try:
                found = self._path(name).stat()
            except FileNotFoundError:
                return None
            except NotADirectoryError:
                raise _in_the_way(name) from None
            if not stat.S_ISREG(found.st_mode):
                raise _in_the_way(name)
            return Version(found.st_size, found.st_mtime_ns)

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of a file's content."""
        with _told(name), self._path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    def keep(self, name: str, target: Path) -> None:
        """Link a file into the kept ones: its name is about to be another's."""
        path = self._path(name)
        with _told(name):
            try:
                target.hardlink_to(path)
            except OSError:  # another file system, or a link that the kernel refuses
                shutil.copy2(path, target, follow_symlinks=False)
                _own_as(target, path)
                _sync(target)

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Give a file its name, with owner and mode of the one that it replaces."""
        path = self._path(name)
        with _told(name):
            self._make_folders(path.parent)
            aside = path.with_name(unfinished_name())
            try:
                _move(source, aside)
                self._dress(aside, path)
                if mtime > 0:
                    os.utime(aside, (mtime, mtime))
                _sync(aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            self._touched.add(path.parent)

    def put_back(self, name: str, kept: Path) -> None:
        """Give a kept file its name again."""
        path = self._path(name)
        with _told(name):
            self._make_folders(path.parent)
            aside = path.with_name(unfinished_name())
            try:
                # A link, so that a kill leaves it among the kept ones until it has its name.
                try:
                    aside.hardlink_to(kept)
                except OSError:
                    shutil.copy2(kept, aside, follow_symlinks=False)
                    _own_as(aside, kept)
                    _sync(aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            kept.unlink(missing_ok=True)
            self._touched.add(path.parent)

    def remove(self, name: str) -> None:
        """Remove a file; its folder stays."""
        path = self._path(name)
        with _told(name):
            path.unlink(missing_ok=True)
            self._touched.add(path.parent)

    def flush(self) -> None:
        """Flush the folders in which names were given or taken."""
        for folder in sorted(self._touched):
            with suppress(FileNotFoundError):
                sync_folder(folder)
        self._touched.clear()

    def missing_room(self, size: int, folder: Path) -> str:
        """Ask the disks of both folders."""
        there = self.root
        while not there.exists():
            there = there.parent
        for place in {folder.stat().st_dev: folder, there.stat().st_dev: there}.values():
            if (free := shutil.disk_usage(place).free) < size:
                return _too_small(place, free, size)
        return ""

    def _path(self, name: str) -> Path:
        return Path(self._storage.path(name))

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        mode = self._storage.directory_permissions_mode
        if mode is not None:
            folder.chmod(mode)
        _own_as(folder, folder.parent)
        self._touched.add(folder.parent)

    def _dress(self, aside: Path, path: Path) -> None:
        """Give a file the owner and the mode of the one it replaces, or those of an upload."""
        if path.is_file():
            aside.chmod(stat.S_IMODE(path.stat().st_mode))
            _own_as(aside, path)
            return
        mode = self._storage.file_permissions_mode
        aside.chmod(_READABLE if mode is None else mode)
        _own_as(aside, path.parent)


class StoragePlace:
    """Any other storage, such as a bucket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self) -> Iterator[str]:
        """Yield the name of every file."""
        yield from self._names("")

    def version(self, name: str) -> Version | None:
        """Return size and time of an object; None when there is none."""
        with _told(name):
            if not self._storage.exists(name):
                return None
            try:
                changed = self._storage.get_modified_time(name).timestamp()
            except NotImplementedError:
                changed = 0.0
            return Version(int(self._storage.size(name)), changed)

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of an object's content."""
        found = hashlib.sha256()
        with _told(name), self._storage.open(name, "rb") as file:
            while data := file.read(_CHUNK):
                found.update(data)
        return found.digest()

    def keep(self, name: str, target: Path) -> None:
        """Fetch an object into a file."""
        with _told(name), self._storage.open(name, "rb") as file, target.open("xb") as kept:
            target.chmod(0o600)
            shutil.copyfileobj(file, kept, _CHUNK)
            kept.flush()
            os.fsync(kept.fileno())

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Store a file under exactly its name."""
        with _told(name), source.open("rb") as opened:
            # A storage that would not overwrite gets room first: the former one is kept.
            if self._storage.get_available_name(name) != name:
                self._storage.delete(name)
            saved = self._storage.save(name, File(opened, name=name))
            if saved != name:
                self._storage.delete(saved)
                raise BackupError(
                    f"The storage of uploaded files stored {name} as {saved}; that was removed "
                    "again. Somebody uploads files of that name. Run this again."
                )
        source.unlink(missing_ok=True)

    def put_back(self, name: str, kept: Path) -> None:
        """Store a kept file again."""
        self.put(name, kept, 0)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with _told(name):
            self._storage.delete(name)

    def flush(self) -> None:
        """Nothing waits here."""

    def missing_room(self, size: int, folder: Path) -> str:
        """Ask the disk of the folder alone: a bucket has room."""
        free = shutil.disk_usage(folder).free
        return _too_small(folder, free, size) if free < size else ""

    def _names(self, folder: str) -> Iterator[str]:
        with _told(folder or "the storage of uploaded files"):
            try:
                folders, files = self._storage.listdir(folder)
            except FileNotFoundError:
                return
        prefix = f"{folder}/" if folder else ""
        yield from (f"{prefix}{file}" for file in sorted(files) if file)
        for each in sorted(filter(None, folders)):
            yield from self._names(f"{prefix}{each}")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell a storage's failures in a sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise BackupError(
            f"{name} can't be read or written: {error.strerror or error}. "
            + ("Free some space" if full else "Let the user who runs this read and write it")
            + ", and run this again."
        ) from error
    except SuspiciousOperation as error:
        raise BackupError(f"The storage of uploaded files refuses {name!r}: {error}") from None


def _in_the_way(name: str) -> BackupError:
    return BackupError(
        f"{name} is a file in the backup, and can't be one here: a folder, or a file where the "
        "backup has a folder, is in the way. No uploaded file was changed. Move that away first."
    )


def _too_small(place: Path, free: int, size: int) -> str:
    return (
        f"The disk of {place} has {free:,} bytes free; the files to bring back take {size:,}. No "
        "uploaded file was changed. Free some, or bring back fewer (--file)."
    )


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
        source.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_as(path: Path, like: Path) -> None:
    """Let root's file belong to the user of what is there: the site has to read and replace it."""
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
