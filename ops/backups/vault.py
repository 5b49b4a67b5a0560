"""A storage that keeps backups: Django's, with the promises a backup needs on top.

An object is stored under exactly its name or not at all, is on the disk (not in a cache) when
`save` returns, and what was cut off half-way is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages

from ops.backups.errors import MissingObjectError, StorageError
from ops.backups.manifest import StoredObject
from ops.postgres.files import sync_folder

# Where objects are until they are whole, in a storage that is a folder.
UNFINISHED = "unfinished"
PRIMARY = "dbbackup"
COPY = "dbbackup_copy"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class OpenUpload:
    """An upload that was begun and neither completed nor aborted; its parts cost money."""

    name: str
    id: str
    began_at: datetime


class Vault:
    """One storage of backups. `label` is what catalogue rows call it: an alias or a folder."""

    def __init__(self, storage: Storage, label: str) -> None:
        self.storage, self.label = storage, label

    @classmethod
    def primary(cls) -> Vault:
        """The storage that backups go to: STORAGES["dbbackup"]."""
        return cls(storages[PRIMARY], PRIMARY)

    @classmethod
    def second(cls) -> Vault | None:
        """The off-site copy, when one is configured: STORAGES["dbbackup_copy"]."""
        return cls(storages[COPY], COPY) if COPY in storages.backends else None

    @classmethod
    def folder(cls, path: Path) -> Vault:
        """A local folder that an operator named."""
        location = path.expanduser().absolute()
        storage = FileSystemStorage(
            str(location), file_permissions_mode=0o600, directory_permissions_mode=0o700
        )
        return cls(storage, str(location))

    @classmethod
    def of(cls, label: str) -> Vault:
        """The storage that a catalogue row names."""
        if label == PRIMARY or label in storages.backends:
            return cls(storages[label], label)
        return cls.folder(Path(label))

    def save(self, name: str, content: File[bytes]) -> None:
        """Store a stream under exactly this name, durably; remove what is left of a failure.

        Raises StorageError, also when there is an object of this name: it stays as it is.
        """
        if self.exists(name):
            raise StorageError(
                f"The storage {self.label} already has an object {name}. Nothing was overwritten. "
                "Run this again."
            )
        # In a folder a killed process leaves what it had written. django-dbbackup would take that
        # for a backup, so an object gets its name when it is whole; buckets do so by themselves.
        stored = wanted = name if self._path(name) is None else aside_name(name)
        try:
            with self._told(name):
                stored = self.storage.save(wanted, content)
                if stored != wanted:
                    raise StorageError(
                        f"The storage {self.label} stored {wanted} as {stored}. It was removed: "
                        "under another name nobody would find it. Let the storage keep names as "
                        "they are, and run this again."
                    )
                require_end = getattr(content, "require_end", None)
                if require_end is not None:
                    require_end(name)
                self._publish(stored, name)
        except BaseException:
            with suppress(Exception):
                self.delete(stored)
            raise

    def write(self, name: str, content: bytes) -> None:
        """Store a small object, replacing one of that name; readers see the old or the new one."""
        with self._told(name):
            path = self._path(name)
            replace = getattr(self.storage, "replace", None)
            if replace is not None:
                replace(name, content)
                return
            if path is None:
                if self.storage.exists(name):
                    self.storage.delete(name)
                stored = self.storage.save(name, ContentFile(content, name=name))
                if stored != name:
                    self.storage.delete(stored)
                    raise StorageError(f"The storage {self.label} refused the name {name}.")
                return
            stored = aside_name(name)
            aside = Path(self.storage.path(stored))
            aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with os.fdopen(_private(aside), "wb") as file:
                    file.write(content)
                self._publish(stored, name)
            finally:
                aside.unlink(missing_ok=True)

    def open(self, name: str) -> IO[bytes]:
        """Open an object for reading; reading raises StorageError. Raises MissingObjectError."""
        with self._told(name):
            opened: Any = self.storage.open(name, "rb")
            # Some storages find out at the first read.
            if not self._path(name) and not self.storage.exists(name):
                raise FileNotFoundError(name)
        reading: Any = _Reading(opened, self, name)
        return reading  # type: ignore[no-any-return]

    def read(self, name: str, most: int) -> bytes:
        """Return a small object whole. Raises StorageError when it is longer than `most` bytes."""
        with self.open(name) as file, self._told(name):
            content = file.read(most + 1)
        if len(content) > most:
            raise StorageError(f"{name} in the storage {self.label} is too long to be ours.")
        return bytes(content)

    def size(self, name: str) -> int:
        """Return an object's size in bytes, as the storage tells it. Raises MissingObjectError."""
        with self._told(name):
            return int(self.storage.size(name))

    def require_size(self, stored: StoredObject) -> None:
        """Ask the storage what it has of an object; one it keeps otherwise is removed.

        Raises StorageError.
        """
        told = self.size(stored.name)
        if told != stored.size:
            self.delete(stored.name)
            raise StorageError(
                f"The storage {self.label} says it has {told:,} bytes of {stored.name}; it was "
                f"given {stored.size:,}. It was removed: what a storage loses can't be restored. "
                "Check the storage and run this again."
            )

    def exists(self, name: str) -> bool:
        """Tell whether there is an object of this name."""
        with self._told(name):
            return bool(self.storage.exists(name))

    def delete(self, name: str) -> None:
        """Remove an object; one that is gone already is fine."""
        with self._told(name), suppress(FileNotFoundError):
            self.storage.delete(name)

    def names(self, folder: str = "") -> list[str]:
        """Return the names of a folder's objects, without folders and unfinished files."""
        with self._told(folder or "its folder"):
            try:
                _, found = self.storage.listdir(folder)
            except FileNotFoundError:
                return []
        return sorted(name for name in map(_last, found) if name and not name.startswith("."))

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of a folder's folders."""
        with self._told(folder or "its folder"):
            try:
                found, _ = self.storage.listdir(folder)
            except FileNotFoundError:
                return []
        return sorted(name for name in map(_last, found) if name)

    def sizes(self) -> dict[str, int]:
        """Return the size of every object, by its name: one listing, not a request an object.

        Raises StorageError, also when the storage is not there.
        """
        self.require_there()
        with self._told("its list of objects"):
            folder, listed = self._path(""), getattr(self.storage, "sizes", None)
            if listed is not None:
                return dict(listed())
            return dict(_sizes_of_folder(folder) if folder else _sizes_of(self.storage))

    def modified_at(self, name: str) -> datetime:
        """Return when an object was stored, by the storage's clock, in UTC."""
        with self._told(name):
            return self.storage.get_modified_time(name).astimezone(UTC)

    def unfinished(self) -> list[str]:
        """Return the names of what was being written when a process was killed."""
        with self._told(UNFINISHED):
            try:
                _, found = self.storage.listdir(UNFINISHED)
            except FileNotFoundError:
                return []
        ours = (name for name in map(_last, found) if name[:1] == "." and name.endswith(".aside"))
        return sorted(f"{UNFINISHED}/{name}" for name in ours)

    def open_uploads(self) -> list[OpenUpload]:
        """Return the uploads that were begun and neither completed nor aborted."""
        listed = getattr(self.storage, "open_uploads", None)
        if listed is None:
            return []
        with self._told("its open uploads"):
            return list(listed())

    def abort(self, upload: OpenUpload) -> None:
        """Remove what an unfinished upload has sent."""
        with self._told(upload.name):
            storage: Any = self.storage  # which listed the upload
            storage.abort(upload)

    def require_there(self) -> None:
        """Raise StorageError when the storage itself is away, such as a disk not mounted.

        An empty answer of a storage that is not there would read as "all backups are gone".
        """
        folder = self._path("")
        if folder is not None and not folder.is_dir():
            raise StorageError(
                f"{folder}, the storage {self.label}, is not there. Nothing can be said about the "
                "backups in it, and nothing was changed. Mount its disk, or correct its settings."
            )

    def _path(self, name: str) -> Path | None:
        """Return where an object is, in a storage that is a folder; others may tell paths too."""
        if not isinstance(self.storage, FileSystemStorage):
            return None
        return Path(self.storage.path(name))

    def _publish(self, stored: str, name: str) -> None:
        """Give an object in a folder its name, once it is on the disk."""
        aside, path = self._path(stored), self._path(name)
        if aside is None or path is None:
            return
        handle = os.open(aside, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.rename(path)
        sync_folder(path.parent)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Tell a storage's failures as ours; what comes from the content's source passes."""
        try:
            yield
        except FileNotFoundError:
            self.require_there()
            raise MissingObjectError(
                f"{name} is not in the storage {self.label}. If somebody deleted it, it is gone; "
                "if the storage is another one than before, correct its settings."
            ) from None
        except OSError as error:
            raise StorageError(self._sentence(error)) from error
        except Exception as error:
            if not _is_of_a_storage(error):
                raise
            raise StorageError(
                f"The storage {self.label} refused: {_one_line(error)}. Nothing that looks like a "
                "backup was left there. Check its address, keys and free room, and run this again."
            ) from error

    def _sentence(self, error: OSError) -> str:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return (
                f"The storage {self.label} is full. Nothing that looks like a backup was left "
                "there; earlier backups are untouched. Free some space (`manage.py backups "
                "--prune --dry-run` shows what may go) and run this again."
            )
        return (
            f"The storage {self.label} can't be used: {error.strerror or _one_line(error)}. "
            "Nothing that looks like a backup was left there. Check it and run this again."
        )


class _Reading:
    """An opened object, whose storage's failures are told as ours."""

    def __init__(self, opened: Any, vault: Vault, name: str) -> None:
        self._opened, self._vault, self._name = opened, vault, name

    def read(self, size: int = -1) -> bytes:
        with self._vault._told(self._name):
            return bytes(self._opened.read(size))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


def aside_name(name: str) -> str:
    """Return what an object is called until it is whole: each time another name."""
    return f"{UNFINISHED}/.{_last(name)}.{secrets.token_hex(4)}.aside"


def _sizes_of_folder(folder: Path) -> Iterator[tuple[str, int]]:
    def fail(error: OSError) -> None:
        raise error  # a folder that can't be read is not an empty one

    for place, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = Path(place, name)
            # What was removed since it was listed is not there.
            with suppress(FileNotFoundError):
                yield path.relative_to(folder).as_posix(), path.stat().st_size


def _sizes_of(storage: Storage, folder: str = "") -> Iterator[tuple[str, int]]:
    folders, names = storage.listdir(folder)
    for name in filter(None, map(_last, names)):
        path = f"{folder}/{name}".lstrip("/")
        yield path, storage.size(path)
    for name in filter(None, map(_last, folders)):
        yield from _sizes_of(storage, f"{folder}/{name}".lstrip("/"))


def _is_of_a_storage(error: Exception) -> bool:
    """Tell whether a failure comes from a storage's own library, such as boto's."""
    modules = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"botocore", "boto3", "s3transfer", "urllib3", "storages", "azure"})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
