"""The way back: a stored object becomes the dump it was, and every byte of it is looked at.

The hash is taken of all bytes as stored, also those after a failure to decrypt: so "changed since
it was stored" and "can't be opened with these keys" are told apart.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Protocol

import pyrage
import zstandard

from ops.backups import keys
from ops.backups.errors import DamagedError, KeyMissingError
from ops.backups.manifest import StoredObject
from ops.backups.outgoing import CHUNK
from ops.postgres import tools

_CANNOT_OPEN = (pyrage.DecryptError, zstandard.ZstdError, zlib.error, EOFError, OSError)

_SLICE = 16 << 10


class Sink(Protocol):
    """Where the decrypted, decompressed bytes go."""

    def write(self, data: bytes, /) -> Any:
        """Take some bytes."""


@dataclass(frozen=True)
class Arrived:
    """What was read: bytes and hash as stored, bytes as dumped."""

    size: int
    sha256: str
    raw_size: int


def receive(
    source: IO[bytes],
    stored: StoredObject,
    sink: Sink | None,
    *,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Arrived:
    """Read an object to its last byte into `sink`, and hold it against its manifest.

    `sink` None looks at size and hash alone, which takes no key. Raises DamagedError saying what
    differs, KeyMissingError when nothing here opens it, and whatever the sink raises.
    """
    hashing = _Hashing(source, on_bytes)
    raw, failure = 0, None
    if sink is not None:
        counting = _CountingSink(sink)
        try:
            _open(hashing, stored, counting)
        except KeyMissingError:
            raise
        except _CANNOT_OPEN as error:
            if told := counting.error or hashing.error:
                raise told from None
            failure = error
        except DamagedError as error:
            if hashing.error:
                raise hashing.error from None
            failure = error
        raw = counting.count
    hashing.drain()
    arrived = Arrived(hashing.count, hashing.digest(), raw)
    _compare(stored, arrived, failure, opened=sink is not None)
    return arrived


def unpack(source: IO[bytes], stored: StoredObject, sink: Sink) -> None:
    """Read an object into `sink` by its encryption and compression alone; it has no manifest.

    Raises DamagedError, KeyMissingError, and whatever source and sink raise.
    """
    hashing, counting = _Hashing(source, lambda count: None), _CountingSink(sink)
    try:
        _open(hashing, stored, counting)
    except KeyMissingError:
        raise
    except (*_CANNOT_OPEN, DamagedError) as error:
        if told := counting.error or hashing.error:
            raise told from None
        raise DamagedError(f"{stored.name} can't be opened: {_said(error)}.") from None


def _compare(
    stored: StoredObject, arrived: Arrived, failure: Exception | None, *, opened: bool
) -> None:
    if arrived.size < stored.size:
        raise DamagedError(
            f"{stored.name} is cut off: {arrived.size:,} of {stored.size:,} bytes are there."
        )
    if arrived.size > stored.size:
        raise DamagedError(
            f"{stored.name} has {arrived.size:,} bytes instead of {stored.size:,}: it is another "
            "object, or something was added to it."
        )
    if arrived.sha256 != stored.sha256:
        raise DamagedError(
            f"{stored.name} was changed after it was stored: its SHA-256 is not the manifest's."
        )
    if failure is not None:
        raise DamagedError(
            f"{stored.name} is as it was stored, but can't be opened: {_said(failure)}."
        )
    # Of what django-dbbackup encrypted by itself nobody knows how much went in.
    if opened and stored.raw_size and arrived.raw_size != stored.raw_size:
        raise DamagedError(
            f"{stored.name} opens to {arrived.raw_size:,} bytes; {stored.raw_size:,} went in."
        )


def _open(source: _Hashing, stored: StoredObject, sink: Sink) -> None:
    expander = _expander(stored, sink)
    if stored.encryption == "age":
        identities = keys.require_identities(stored.recipients)
        pyrage.decrypt_io(source, expander, identities)
    elif stored.encryption == "gpg":
        _gpg(source, expander)
    else:
        while data := source.read(CHUNK):
            expander.write(data)
    expander.finish()


class _Plain:
    """No compression."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def finish(self) -> None:
        """Nothing to complete."""


class _Expanding(_Plain):
    """Decompresses what is written to it; an end in the middle is an error, so is anything after.

    Works with zstandard's and zlib's decompression objects, which look the same.
    """

    def __init__(self, sink: Sink, expander: Any) -> None:
        super().__init__(sink)
        self._expander = expander

    def write(self, data: bytes) -> int:
        # In slices: rows that are all alike come out of it as thousands of times as many bytes.
        for start in range(0, len(data), _SLICE):
            if self._expander.eof:
                raise DamagedError("there is something behind its end")
            expanded = self._expander.decompress(data[start : start + _SLICE])
            if expanded:
                self._sink.write(expanded)
            if self._expander.unused_data:
                raise DamagedError("there is something behind its end")
        return len(data)

    def finish(self) -> None:
        if not self._expander.eof:
            raise DamagedError("it ends in the middle")


def _expander(stored: StoredObject, sink: Sink) -> _Plain:
    if stored.compression == "zstd":
        return _Expanding(sink, zstandard.ZstdDecompressor().decompressobj())
    if stored.compression == "gzip":
        return _Expanding(sink, zlib.decompressobj(wbits=31))
    return _Plain(sink)


class _Hashing(io.RawIOBase):
    """The object as stored: hashed and counted while it is read.

    It remembers its error, which the cipher would reword: a storage that breaks off says nothing
    about the object.
    """

    def __init__(self, source: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._wrapped, self._on_bytes = source, on_bytes
        self._hash = hashlib.sha256()
        self._ahead = memoryview(b"")
        self.count = 0
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # The cipher asks for a few kilobytes at a time; the storage is asked for megabytes.
        if not self._ahead:
            self._ahead = memoryview(self._fetch())
        size = len(self._ahead) if size < 0 else size
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(data)

    def drain(self) -> None:
        """Read what the cipher had no use for."""
        while self._fetch():
            pass

    def digest(self) -> str:
        return self._hash.hexdigest()

    def _fetch(self) -> bytes:
        try:
            data = bytes(self._wrapped.read(CHUNK))
        except BaseException as error:
            self.error = error
            raise
        self._hash.update(data)
        self.count += len(data)
        self._on_bytes(len(data))
        return data


class _CountingSink:
    """The sink, counted; remembers its error, which the cipher in between would reword."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.count = 0
        self.error: BaseException | None = None

    def write(self, data: bytes) -> None:
        try:
            self._sink.write(data)
        except BaseException as error:
            self.error = error
            raise
        self.count += len(data)


def _gpg(source: _Hashing, expander: _Plain) -> None:
    """Decrypt by gpg itself, from the keyring of whoever runs this."""
    with subprocess.Popen(
        [keys.gpg_program(), "--batch", "--quiet", "--no-tty", "--decrypt"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=keys.gpg_environment(),
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeder = threading.Thread(target=_feed, args=(source, process.stdin), daemon=True)
        feeder.start()
        try:
            while data := process.stdout.read(CHUNK):
                expander.write(data)
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace")
        feeder.join()
    if process.returncode:
        if "No secret key" in said:
            raise KeyMissingError(
                "It is encrypted by GPG, and the secret key is not in this keyring, so nothing can "
                "be said about what is inside. Check it where the key is."
            )
        raise DamagedError(f"gpg says: {tools.last_words(said)}")


def _feed(source: _Hashing, stdin: IO[bytes]) -> None:
    # The source remembers what it raises; gpg meets an early end, and `receive` tells the reason.
    with suppress(Exception), stdin:
        while data := source.read(CHUNK):
            stdin.write(data)


def _said(failure: Exception) -> str:
    return " ".join(str(failure).split()).rstrip(".") or type(failure).__name__
