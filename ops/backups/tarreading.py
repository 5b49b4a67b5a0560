"""Reading an archive of files to its last member, and unpacking it where that is wanted."""

from __future__ import annotations

import hashlib
import os
import tarfile
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from ops.backups.errors import BackupError, DamagedError

_CHUNK = 1 << 20
# What closes a tar; without it the archive was cut off between two members.
_CLOSING = b"\0" * 1024


# What tells a long name or a member's attributes is read into memory whole.
_LONGEST_HEADER = 1 << 20
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class _Header(tarfile.TarInfo):
    """A header of a tar, refused where reading it would take the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block. Raises ReadError."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _HEADERS and header.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"it has a header of {header.size:,} bytes")
        return header


class Tally(Protocol):
    """Who wants to know what is in it."""

    def add(self, name: str, size: int, sha256: str) -> None:
        """Take note of the next file."""


class TarReading:
    """A sink for a tar, which a thread reads to its last member, and unpacks `into` a folder.

    `tally` is told name, size and SHA-256 of each file that is not unpacked.
    """

    def __init__(self, into: Path | None = None, *, tally: Tally | None = None) -> None:
        read, write = os.pipe()
        self._reader, self._writer = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._into, self._tally = into, tally
        self._end = b""
        self.size = 0
        self._error: Exception | None = None
        self.files = 0
        self._thread = threading.Thread(target=self._read, name="tar-reader", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Take a piece of it. `finish` tells what the reader met."""
        self.size += len(data)
        self._end = (self._end + data[-len(_CLOSING) :])[-len(_CLOSING) :]
        with suppress(BrokenPipeError, ValueError):
            self._writer.write(data)

    def finish(self, name: str) -> None:
        """Wait until it is read; `name` is what it is called.

        Raises DamagedError when it can't be read to its last member, and BackupError when it can't
        be unpacked here.
        """
        self._close()
        self._thread.join()
        if isinstance(self._error, OSError) and not isinstance(self._error, tarfile.TarError):
            raise BackupError(
                f"{name} could not be unpacked to look at it: {self._error.strerror}. Nothing is "
                f"known about it. Check {self._into}, and run this again."
            )
        if isinstance(self._error, tarfile.TarError | EOFError):
            raise DamagedError(
                f"{name} is as it was stored, but its files can't be read to the last one: "
                f"{self._error}."
            )
        if self._error is not None:
            raise self._error
        if self._end != _CLOSING:
            raise DamagedError(
                f"{name} is as it was stored, but its files can't be read to the last one: it has "
                "no end."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        self._thread.join()

    def _close(self) -> None:
        with suppress(BrokenPipeError):
            self._writer.close()

    def _read(self) -> None:
        with self._reader:
            try:
                with tarfile.open(
                    fileobj=self._reader, mode="r|", errorlevel=2, tarinfo=_Header
                ) as archive:
                    for member in archive:
                        self._take(archive, member)
            except Exception as error:  # noqa: BLE001 (told by `finish`)
                self._error = error
                return
            while self._reader.read(_CHUNK):  # zeros up to the end of its last block
                pass

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        # Plainly: tarfile's own extraction sets owners, modes and times of every file, and on a
        # data directory's thousands of small ones that takes most of the time.
        place = None if self._into is None else _place(self._into, member)
        if place is not None and member.isdir():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = archive.extractfile(member) if member.isfile() else None
        if file is None:
            return
        self.files += 1
        if place is None:
            digest = hashlib.sha256()
            while data := file.read(_CHUNK):
                digest.update(data)
            if self._tally is not None:
                self._tally.add(member.name, member.size, digest.hexdigest())
            return
        with open(place, "xb", buffering=0, opener=_private) as target:
            while data := file.read(_CHUNK):
                target.write(data)


def _place(into: Path, member: tarfile.TarInfo) -> Path:
    """Where a member goes. Raises TarError for one that would go elsewhere, or is no file."""
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder of a backup")
    return into.joinpath(*parts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
