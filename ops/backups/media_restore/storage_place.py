"""Uploaded files in a storage that is no folder of this machine, such as a bucket.

An object is replaced in one step where the storage overwrites; elsewhere it is away for a moment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import Storage

from ops.backups.errors import BackupError
from ops.backups.media_restore.place import Version, described, too_small

_CHUNK = 1 << 20


class StoragePlace:
    """Any other storage, such as a bucket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self) -> Iterator[str]:
        """Yield the name of every file."""
        yield from self._names("")

    def version(self, name: str) -> Version | None:
        """Return size and time of an object; None when there is none."""
        with described(name):
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
        with described(name), self._storage.open(name, "rb") as file:
            while data := file.read(_CHUNK):
                found.update(data)
        return found.digest()

    def keep(self, name: str, target: Path) -> None:
        """Fetch an object into a file."""
        with described(name), self._storage.open(name, "rb") as file, target.open("xb") as kept:
            target.chmod(0o600)
            shutil.copyfileobj(file, kept, _CHUNK)
            kept.flush()
            os.fsync(kept.fileno())

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Store a file under exactly its name."""
        with described(name), source.open("rb") as opened:
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
        with described(name):
            self._storage.delete(name)

    def flush(self) -> None:
        """Nothing waits here."""

    def missing_room(self, size: int, folder: Path) -> str:
        """Ask the disk of the folder alone: a bucket has room."""
        free = shutil.disk_usage(folder).free
        return too_small(folder, free, size) if free < size else ""

    def _names(self, folder: str) -> Iterator[str]:
        with described(folder or "the storage of uploaded files"):
            try:
                folders, files = self._storage.listdir(folder)
            except FileNotFoundError:
                return
        prefix = f"{folder}/" if folder else ""
        yield from (f"{prefix}{file}" for file in sorted(files) if file)
        for each in sorted(filter(None, folders)):
            yield from self._names(f"{prefix}{each}")
