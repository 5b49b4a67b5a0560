"""Uploaded files in a folder of this machine.

A file gets its name when it is whole and on the disk, by a rename: readers see the former one or
the new one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.core.files.storage import FileSystemStorage

from ops.backups.errors import BackupError
from ops.backups.media_names import is_unfinished, unfinished_name
from ops.backups.media_restore.place import Version, described, too_small
from ops.postgres.files import sync_folder

_READABLE = 0o644  # as Django gives uploads by default


class FolderPlace:
    """A folder of this machine."""

    def __init__(self, storage: FileSystemStorage) -> None:
        self._storage, self._touched = storage, set[Path]()
        self.root = Path(storage.path(""))

    def names(self) -> Iterator[str]:
        """Yield the name of every file; what a killed restore left is removed instead."""
        with described("the folder of uploaded files"):
            for folder, _, files in os.walk(self.root, onerror=_raise, followlinks=True):
                for file in sorted(files):
                    path = Path(folder, file)
                    if is_unfinished(file):
                        path.unlink(missing_ok=True)
                    else:
                        yield path.relative_to(self.root).as_posix()

    def version(self, name: str) -> Version | None:
        """Return size and time of a file; None when there is none."""
        with described(name):
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
        with described(name), self._path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    def keep(self, name: str, target: Path) -> None:
        """Link a file into the kept ones: its name is about to be another's."""
        path = self._path(name)
        with described(name):
            try:
                target.hardlink_to(path)
            except OSError:  # another file system, or a link that the kernel refuses
                shutil.copy2(path, target, follow_symlinks=False)
                _own_as(target, path)
                _sync(target)

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Give a file its name, with owner and mode of the one that it replaces."""
        path = self._path(name)
        with described(name):
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
        with described(name):
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
        with described(name):
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
                return too_small(place, free, size)
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


def _in_the_way(name: str) -> BackupError:
    return BackupError(
        f"{name} is a file in the backup, and can't be one here: a folder, or a file where the "
        "backup has a folder, is in the way. No uploaded file was changed. Move that away first."
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
