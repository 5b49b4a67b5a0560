"""The way out: a dump becomes a stored object, compressed and encrypted as it streams.

Nothing is ever whole in memory or on disk. A thread pulls from the source, compresses and
encrypts, and writes into a pipe; the storage reads the other end. What fails in the thread is
raised where the storage reads, so that a storage never takes an end that is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, cast

import pyrage
import zstandard
from django.core.files.base import File

from ops.backups import keys
from ops.backups.errors import BackupError, StorageError
from ops.backups.manifest import StoredObject
from ops.postgres import tools

CHUNK = 1 << 20
# Level 1 is four times as fast as 3 and a tenth larger on our dumps (docs/benchmarks.md).
ZSTD_LEVEL = 1
_PIPE = 1 << 20


class Upload(File[bytes]):
    """A stream that a storage can save; afterwards it knows what was stored.

    `finish_source` is called when the source has ended, before the storage may see the end: it
    raises when what produced the data failed.
    """

    def __init__(
        self,
        source: IO[bytes],
        *,
        encryption: keys.Encryption,
        on_ask: Callable[[], object] = lambda: None,
        on_raw: Callable[[int], object] = lambda count: None,
        finish_source: Callable[[], object] = lambda: None,
        compress: bool = True,
    ) -> None:
        self._source = _Counting(source, on_ask, on_raw)
        self._encryption = encryption
        self._finish_source = finish_source
        self._compress = compress
        self._hash = hashlib.sha256()
        self._size = 0
        self._error: BaseException | None = None
        self._at_end = False
        read, write = os.pipe()
        for end in (read, write):
            with suppress(OSError):  # the user's share of pipe memory may be used up
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE)
        self._reader = os.fdopen(read, "rb", buffering=0)
        self._writer = os.fdopen(write, "wb", buffering=CHUNK)
        self._thread = threading.Thread(target=self._pump, name="backup-stream", daemon=True)
        self._thread.start()
        super().__init__(self._reader, name=None)

    # --- what a storage calls ------------------------------------------------------------------

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; raise what went wrong at the source."""
        if size < 0:
            return b"".join(self.chunks())
        parts, missing = [], size
        while missing:
            part = self._reader.read(missing)
            if not part:
                self._end()
                break
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._hash.update(data)
        self._size += len(data)
        return data

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield the stream in pieces."""
        while piece := self.read(chunk_size or CHUNK):
            yield piece

    def seekable(self) -> bool:
        """Tell storages to take it as it comes."""
        return False

    def readable(self) -> bool:
        """Tell storages to read."""
        return True

    @property
    def size(self) -> int:
        """Bytes given to the storage so far; how many there will be nobody knows."""
        return self._size

    def close(self) -> None:
        """Let go of the stream; the thread notices and ends."""
        self._reader.close()
        self._thread.join(timeout=60)

    def require_end(self, name: str) -> None:
        """Raise StorageError when the storage never asked for the end: it has a part."""
        if not self._at_end:
            raise StorageError(
                f"The storage says that it has {name}, and took {self._size:,} bytes without "
                "asking for the rest. What it has was removed. Check the storage and run this "
                "again."
            )

    def stored(self, role: str, name: str) -> StoredObject:
        """Return what was stored, once it has been."""
        return StoredObject(
            role=role,
            name=name,
            size=self._size,
            sha256=self._hash.hexdigest(),
            raw_size=self._source.count,
            compression="zstd" if self._compress else "none",
            encryption=self._encryption.kind,
            recipients=list(self._encryption.recipients),
        )

    # --- the thread ----------------------------------------------------------------------------

    def _pump(self) -> None:
        try:
            with self._writer:
                _encrypt(self._compressed(), self._writer, self._encryption)
            self._finish_source()
        except BaseException as error:  # noqa: BLE001 (raised again where the storage reads)
            self._error = self._source.error or error
            with suppress(OSError):
                self._writer.close()

    def _compressed(self) -> IO[bytes]:
        if not self._compress:
            return cast("IO[bytes]", self._source)
        reader: Any = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).stream_reader(
            cast("IO[bytes]", self._source), read_size=CHUNK
        )
        return reader  # type: ignore[no-any-return]

    def _end(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._at_end = True


class _Counting(io.RawIOBase):
    """The source, counted; remembers its error, which the cipher in between would reword."""

    def __init__(
        self, source: IO[bytes], on_ask: Callable[[], object], on_raw: Callable[[int], object]
    ) -> None:
        self._wrapped, self._on_ask, self._on_raw = source, on_ask, on_raw
        self.count = 0
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            self._on_ask()
            data = self._wrapped.read(size)
            self.count += len(data)
            self._on_raw(len(data))
        except BaseException as error:
            self.error = error
            raise
        return data


def _encrypt(source: IO[bytes], target: IO[bytes], encryption: keys.Encryption) -> None:
    if encryption.kind == "age":
        recipients = [keys.age_recipient(text) for text in encryption.recipients]
        pyrage.encrypt_io(source, target, recipients)
    elif encryption.kind == "gpg":
        _gpg(source, target, encryption.recipients)
    else:
        while data := source.read(CHUNK):
            target.write(data)


def _gpg(source: IO[bytes], target: IO[bytes], recipients: tuple[str, ...]) -> None:
    """Encrypt by gpg itself: python-gnupg would hold the whole in memory."""
    arguments = [keys.gpg_program(), "--batch", "--yes", "--quiet", "--no-tty"]
    arguments += ["--compress-algo", "none"]
    if keys.gpg_always_trusts():
        arguments += ["--trust-model", "always"]
    for recipient in recipients:
        arguments += ["--recipient", recipient]
    target.flush()
    with subprocess.Popen(
        [*arguments, "--encrypt"],
        stdin=subprocess.PIPE,
        stdout=target.fileno(),
        stderr=subprocess.PIPE,
        env=keys.gpg_environment(),
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with suppress(BrokenPipeError):
                while data := source.read(CHUNK):
                    process.stdin.write(data)
                process.stdin.close()
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise BackupError(
            f"gpg could not encrypt to {' and '.join(recipients)}: {tools.last_words(said)}. "
            "Nothing that looks like a backup was left. Import and trust that key, and run this "
            "again."
        )
