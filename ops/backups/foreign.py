"""Objects that django-dbbackup alone made: they carry no proof, so the most that can be said is
that they can be read to the end.
"""

from __future__ import annotations

import zlib
from typing import Any

from ops.backups.dumpreading import DumpReading, restore_program
from ops.backups.errors import DamagedError
from ops.backups.vault import Vault
from ops.postgres import tools
from ops.progress import Progress

_CHUNK = 1 << 20
_PACKED = 1 << 16  # of gzip; a thousand times that may be in it
_DUMP, _GZIP = b"PGDMP", b"\x1f\x8b"
_UNPROVEN = "It has no manifest, so nothing proves what was in it"


def inspect_foreign(name: str, vault: Vault, progress: Progress) -> str:
    """Read an object to its end and return, in sentences, what can be said of it.

    Raises MissingObjectError, DamagedError, and StorageError when it is out of reach.
    """
    progress.phase("reading", vault.size(name), "bytes")
    with vault.open(name) as source:
        beginning = bytes(source.read(_CHUNK))
        if not beginning:
            raise DamagedError(f"{name} is empty.")
        stream = _Stream(beginning, source, progress)
        if beginning.startswith(_GZIP):
            return _read_dump(name, _Unzipped(name, stream))
        if beginning.startswith(_DUMP):
            return _read_dump(name, stream)
        while stream.read(_CHUNK):
            pass
    return f"{_UNPROVEN}, and whether it can be restored. Its bytes are there."


def _read_dump(name: str, stream: Any) -> str:
    first = stream.read(_CHUNK)
    if not first.startswith(_DUMP):
        while stream.read(_CHUNK):
            pass
        return f"{_UNPROVEN}, and whether it can be restored. It can be read to its end."
    with DumpReading(restore_program(_shipped_major())) as reading:
        while first:
            reading.write(first)
            first = stream.read(_CHUNK)
        try:
            found = reading.finish()
        except DamagedError as error:
            raise DamagedError(f"{name} is damaged: {error}") from None
    rows = sum(found.contents.rows.values())
    return f"{_UNPROVEN}. It can be read to its end: {rows:,} rows."


def _shipped_major() -> int:
    shipped = tools.shipped_binaries()
    return (tools.major_of(shipped / "pg_restore") if shipped else None) or 0


class _Stream:
    """An object of which the beginning was read already."""

    def __init__(self, beginning: bytes, rest: Any, progress: Progress) -> None:
        self._beginning, self._rest, self._progress = beginning, rest, progress

    def read(self, size: int) -> bytes:
        self._progress.check()
        data, self._beginning = self._beginning[:size], self._beginning[size:]
        data = data or bytes(self._rest.read(size))
        self._progress.advance(len(data))
        return data


class _Unzipped:
    """What gzip holds; an end in the middle is an error."""

    def __init__(self, name: str, stream: _Stream) -> None:
        self._name, self._stream = name, stream
        self._expander = zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        data = b""
        while not data and not self._expander.eof:
            packed = self._stream.read(_PACKED)
            if not packed:
                raise DamagedError(f"{self._name} is cut off: what gzip packed ends in the middle.")
            try:
                data = self._expander.decompress(packed)
            except zlib.error as error:
                raise DamagedError(f"{self._name} is damaged: {error}.") from None
        return data
