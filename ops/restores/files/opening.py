"""A dump that somebody else made, opened layer by layer: decrypted, decompressed, recognised.

Nothing is believed of its name. It is read in pieces, however much is packed into it, and an end in
the middle is an error.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol, cast

import zstandard

from ops.backups import keys
from ops.backups.errors import BackupError
from ops.backups.incoming import unpack
from ops.backups.manifest import StoredObject
from ops.restores.errors import RefusedError

CHUNK = 1 << 18
# So few bytes at a time: zeros come out of a packer thirty thousand times as long.
_PACKED = 1 << 11
_LOOKED_AT = 1 << 16
_AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_GPG = b"-----BEGIN PGP MESSAGE-----"
_GZIP, _ZSTD, _DUMP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PGDMP"
_TAR = (257, b"ustar")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HEADERS = (b"-- PostgreSQL database dump", b"-- PostgreSQL database cluster dump")


class Form(StrEnum):
    """What is in a file, once it is opened."""

    SQL = "sql"
    CUSTOM = "custom"
    TAR = "tar"  # pg_dump's own, or a packed directory of its directory format


class Reading(Protocol):
    """Bytes that come one piece after the other."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


@dataclass(frozen=True)
class Opened:
    """How a file is opened, and what is in it."""

    path: Path
    form: Form
    encryption: str = "none"  # age, gpg, none
    compression: str = "none"  # gzip, zstd, none

    @contextmanager
    def reading(self, on_bytes: Callable[[int], None] = lambda count: None) -> Iterator[Reading]:
        """Lend what is in it; `on_bytes` is told how many of the file's own bytes were read.

        Reading raises RefusedError for a file that is cut off or damaged.
        """
        with _layers(self, on_bytes) as reading:
            yield reading


def look_at(path: Path) -> Opened:
    """Return what a file is, by its first bytes.

    Raises RefusedError when there is no dump in it, and KeyMissingError when nothing here opens it.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise RefusedError(f"{path} can't be read: {error.strerror}. Nothing was begun.") from None
    if not stat.S_ISREG(about.st_mode):
        raise RefusedError(
            f"{path} is no file. Nothing was begun. A directory that pg_dump made is restored "
            "once it is packed: tar -cf dump.tar -C DIRECTORY ."
        )
    if not about.st_size:
        raise RefusedError(f"{path} is empty. Nothing was begun.")
    opened = Opened(path, Form.SQL)
    beginning = _beginning(opened)
    if beginning.startswith(_AGE):
        opened = replace(opened, encryption="age")
    # An OpenPGP message begins with a packet's tag, whose first bit is set; text does not, but for
    # the marks that some systems put before it.
    elif beginning.startswith(_GPG) or (
        beginning[0] >= 0x80 and not beginning.startswith((*_UTF16, b"\xef\xbb\xbf"))
    ):
        opened = replace(opened, encryption="gpg")
    if opened.encryption != "none":
        beginning = _beginning(opened)
    if beginning.startswith((_GZIP, _ZSTD)):
        packing = "gzip" if beginning.startswith(_GZIP) else "zstd"
        opened = replace(opened, compression=packing)
        beginning = _beginning(opened)
    return replace(opened, form=_form(path, beginning))


def _form(path: Path, beginning: bytes) -> Form:
    if beginning.startswith(_DUMP):
        return Form.CUSTOM
    if beginning[_TAR[0] :].startswith(_TAR[1]):
        return Form.TAR
    if beginning.startswith(_UTF16):
        raise RefusedError(
            f"{path} is text in UTF-16, as PowerShell writes what `>` redirects, and PostgreSQL "
            "does not read that. Nothing was begun. Make it anew by pg_dump --file."
        )
    if b"\0" not in beginning and any(header in beginning for header in _HEADERS):
        return Form.SQL
    raise RefusedError(
        f"There is no dump of PostgreSQL in {path}: neither an archive of pg_dump nor an SQL "
        "script that begins as pg_dump's do. Nothing was begun."
    )


def _beginning(opened: Opened) -> bytes:
    found = b""
    with opened.reading() as reading:
        while len(found) < _LOOKED_AT and (data := reading.read(_LOOKED_AT - len(found))):
            found += data
    if not found:
        raise RefusedError(f"There is nothing in {opened.path}. Nothing was begun.")
    return found


# --- layers ------------------------------------------------------------------------------------


@contextmanager
def _layers(opened: Opened, on_bytes: Callable[[int], None]) -> Iterator[Reading]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(opened.path.open("rb"))
        except OSError as error:
            raise RefusedError(
                f"{opened.path} can't be read: {error.strerror}. Nothing was begun."
            ) from None
        reading: Reading = _Counted(file, on_bytes)
        if opened.encryption != "none":
            reading = stack.enter_context(_decrypted(opened, reading))
        if opened.compression != "none":
            reading = _Expanded(opened.path, reading, opened.compression)
        yield reading


class _Counted:
    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._file, self._on_bytes = file, on_bytes

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._on_bytes(len(data))
        return data


@contextmanager
def _decrypted(opened: Opened, source: Reading) -> Iterator[Reading]:
    """Lend what a thread decrypts, at the pace at which it is read."""
    read, write = os.pipe()
    failures: list[Exception] = []
    recipients = [str(each.to_public()) for each in keys.age_identities()]
    stored = StoredObject(
        "archive", str(opened.path), 0, "", 0, "none", opened.encryption, recipients
    )

    def decrypt() -> None:
        try:
            with os.fdopen(write, "wb") as sink:
                unpack(cast("IO[bytes]", source), stored, sink)
        except BrokenPipeError:
            pass  # whoever reads has seen enough
        except Exception as error:  # noqa: BLE001 (raised where it is read)
            failures.append(error)

    thread = threading.Thread(target=decrypt, name="decrypt", daemon=True)
    with os.fdopen(read, "rb") as pipe:
        thread.start()
        try:
            yield _Decrypted(opened.path, pipe, thread, failures)
        finally:
            with suppress(OSError):
                pipe.close()
            thread.join()


class _Decrypted:
    def __init__(
        self, path: Path, pipe: IO[bytes], thread: threading.Thread, failures: list[Exception]
    ) -> None:
        self._path, self._pipe, self._thread, self._failures = path, pipe, thread, failures

    def read(self, size: int, /) -> bytes:
        data = self._pipe.read(size)
        if not data:
            self._thread.join()
            if self._failures:
                raise _not_opened(self._path, self._failures[0])
        return data


def _not_opened(path: Path, error: Exception) -> Exception:
    from ops.backups.errors import DamagedError

    if isinstance(error, DamagedError):
        return RefusedError(
            f"{path} can't be decrypted: it is damaged, cut off, or for another key. Nothing was "
            f"begun. ({error})"
        )
    if isinstance(error, BackupError):  # the key is missing, and it says which
        return error
    return RefusedError(f"{path} can't be decrypted: {error}. Nothing was begun.")


class _Expanded:
    """What gzip or zstd packed, in pieces of bounded size; several packings in a row are one."""

    def __init__(self, path: Path, source: Reading, packing: str) -> None:
        self._path, self._source, self._packing = path, source, packing
        self._expander = self._new()
        self._ready = memoryview(b"")
        self._packed = b""
        self._is_over = False

    def read(self, size: int, /) -> bytes:
        while not self._ready and not self._is_over:
            self._ready = memoryview(self._more())
        data, self._ready = self._ready[:size], self._ready[size:]
        return bytes(data)

    def _new(self) -> Any:
        if self._packing == "gzip":
            return zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor().decompressobj()

    def _more(self) -> bytes:
        packed = self._packed or self._source.read(_PACKED)
        self._packed = b""
        if not packed:
            if not self._expander.eof:
                raise RefusedError(
                    f"{self._path} is cut off: what {self._packing} packed ends in the middle. "
                    "Nothing was begun. Fetch or make it again."
                )
            self._is_over = True
            return b""
        if self._expander.eof:
            if not packed.strip(b"\0"):  # tapes are filled up with zeros
                return b""
            self._expander = self._new()
        try:
            data: bytes = self._expander.decompress(packed)
        except (zlib.error, zstandard.ZstdError) as error:
            raise RefusedError(
                f"{self._path} is damaged: {' '.join(str(error).split())}. Nothing was begun. "
                "Fetch or make it again."
            ) from None
        self._packed = bytes(self._expander.unused_data)
        return data
