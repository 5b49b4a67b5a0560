"""Uploaded files: one tar of the media storage, as django-dbbackup's mediabackup makes it.

It streams: no file is ever whole in memory but small ones, and the tar is never whole anywhere. The
manifest's `details` tell what is in it: `files`, `bytes` (of their contents) and `digest`, the
SHA-256 over one line for each member in the tar's order, "SHA-256 SIZE NAME\\n" (the name's bytes
as they are). `MediaTally` counts the same while a tar is read (TarReading(tally=…)): whoever
verifies compares the two.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import Storage, storages

from ops.backups import keys
from ops.backups.errors import BackupError
from ops.backups.incoming import unpack
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.media_names import is_restorable, is_unfinished
from ops.backups.naming import new_name
from ops.backups.outgoing import Upload
from ops.backups.tarreading import TarReading
from ops.backups.vault import Vault
from ops.models import BackupKind
from ops.progress import Progress

_CHUNK = 1 << 20
_SMALL = 8 << 20  # bytes; read whole, so that a file that is being written is one state of it
_BLOCK = tarfile.BLOCKSIZE
_ENCODING = ("utf-8", "surrogateescape")


@dataclass(frozen=True)
class MediaContents:
    """What is in a tar of uploaded files."""

    files: int
    bytes: int
    digest: str
    raw_size: int  # of the tar

    def as_json(self) -> dict[str, Any]:
        """Return what the manifest's details say."""
        return {"files": self.files, "bytes": self.bytes, "digest": self.digest}


class MediaTally:
    """Counts and digests the members of a tar, one after the other."""

    def __init__(self) -> None:
        self.files, self.bytes = 0, 0
        self._digest = hashlib.sha256()

    def add(self, name: str, size: int, sha256: str) -> None:
        """Count the next member."""
        self.files += 1
        self.bytes += size
        self._digest.update(f"{sha256} {size} ".encode() + name.encode(*_ENCODING) + b"\n")

    def contents(self, raw_size: int) -> MediaContents:
        """Return what was counted."""
        return MediaContents(self.files, self.bytes, self._digest.hexdigest(), raw_size)


def take_media(
    label: str, encryption: keys.Encryption, vault: Vault, progress: Progress
) -> Manifest:
    """Store a tar of all uploaded files and return the manifest, which is not yet written.

    A file that is deleted meanwhile is left out. Raises OpsError, also when a large file changes
    while it is read; what had been stored is removed then.
    """
    began, taken_at = time.monotonic(), datetime.now(UTC)
    name = new_name(
        environment=settings.ENVIRONMENT, taken_at=taken_at, kind=BackupKind.MEDIA, label=label
    )
    suffix = {"age": ".age", "gpg": ".gpg"}.get(encryption.kind, "")
    where = f"{name}.tar.zst{suffix}"
    progress.phase("reading uploaded files", None, "bytes")
    tar = _Tar(storages["default"], progress)

    def on_raw(count: int) -> None:
        progress.advance(count)

    upload = Upload(tar, encryption=encryption, on_ask=progress.check, on_raw=on_raw)  # type: ignore[arg-type]
    try:
        vault.save(where, upload)
    finally:
        upload.close()
    stored = upload.stored("media", where)
    vault.require_size(stored)
    if tar.vanished:
        progress.say(f"{tar.vanished:,} files were deleted meanwhile and are not in it.")
    return Manifest(
        name=str(name),
        kind=BackupKind.MEDIA,
        environment=settings.ENVIRONMENT,
        taken_at=taken_at.isoformat(),
        finished_at=datetime.now(UTC).isoformat(),
        seconds=round(time.monotonic() - began, 3),
        objects=[stored],
        server={},
        database={},
        details=tar.tally.contents(stored.raw_size).as_json(),
        programs={"tar": "srvc"},
    )


def contents_of(file: IO[bytes], *, compression: str = "none") -> MediaContents:
    """Return what is in a tar, read to its last byte. Raises DamagedError."""
    tally = MediaTally()
    with TarReading(tally=tally) as reading:
        stored = StoredObject("media", "the tar", 0, "", 0, compression, "none")
        unpack(file, stored, reading)
        reading.finish(stored.name)
    return tally.contents(reading.size)


class _Tar(io.RawIOBase):
    """The tar of a storage, made as it is read."""

    def __init__(self, storage: Storage, progress: Progress) -> None:
        self.tally, self.vanished = MediaTally(), 0
        self._storage, self._progress = storage, progress
        self._pieces = self._make()
        self._ahead = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return some bytes of it; b"" is its end. Raises OpsError."""
        if not self._ahead:
            # An empty piece, such as an empty file's, is not the end.
            self._ahead = memoryview(next(filter(None, self._pieces), b""))
        most = len(self._ahead) if size is None or size < 0 else size
        data, self._ahead = self._ahead[:most], self._ahead[most:]
        return bytes(data)

    def _make(self) -> Iterator[bytes]:
        for name in self._names(""):
            yield from self._member(name)
        yield bytes(2 * _BLOCK)

    def _names(self, folder: str) -> Iterator[str]:
        try:
            folders, files = self._storage.listdir(folder)
        except FileNotFoundError:
            return  # nobody has uploaded anything, or the folder is gone meanwhile
        except OSError as error:
            raise _unreadable(folder or "the folder of uploaded files", error) from None
        prefix = f"{folder}/" if folder else ""
        for name in sorted(files):
            if not is_unfinished(name):  # a killed restore's; the next one removes it
                yield f"{prefix}{name}"
        for name in sorted(folders):
            yield from self._names(f"{prefix}{name}")

    def _member(self, name: str) -> Iterator[bytes]:
        if not is_restorable(name):
            raise BackupError(
                f"{name!r} is the name of an uploaded file that no restore could put back: it "
                "leads out of their folder. No backup was made. Rename it in the storage."
            )
        try:
            with self._storage.open(name, "rb") as file:
                size = file.size
                whole = file.read() if size <= _SMALL else b""
                header = tarfile.TarInfo(name)
                header.size = size = len(whole) if size <= _SMALL else size
                header.mtime = self._changed_at(name)
                yield header.tobuf(tarfile.GNU_FORMAT, *_ENCODING)
                found = hashlib.sha256()
                for piece in [whole] if whole else _pieces(file, name, size):
                    found.update(piece)
                    yield piece
        except FileNotFoundError:
            self.vanished += 1
            return
        except OSError as error:
            raise _unreadable(name, error) from None
        yield bytes(-size % _BLOCK)
        self.tally.add(name, size, found.hexdigest())

    def _changed_at(self, name: str) -> int:
        try:
            return int(self._storage.get_modified_time(name).timestamp())
        except NotImplementedError:
            return 0


def _pieces(file: Any, name: str, size: int) -> Iterator[bytes]:
    """Yield exactly `size` bytes: what the header said."""
    missing = size
    while missing:
        piece = file.read(min(_CHUNK, missing))
        if not piece:
            raise BackupError(
                f"{name} got shorter while it was read, so the tar was given up. Nothing that "
                "looks like a backup was left. Run this again when nobody writes that file."
            )
        missing -= len(piece)
        yield bytes(piece)


def _unreadable(name: str, error: OSError) -> BackupError:
    return BackupError(
        f"{name} can't be read: {error.strerror or error}. A backup without it would pass for the "
        "whole, so none was made. Let the user who takes backups read all uploaded files."
    )
