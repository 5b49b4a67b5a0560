"""The files of a log, on this machine or by the server's own functions; read in pieces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import psycopg

from ops.health.errors import HealthError
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line

_BLOCK = 262_144  # bytes read at once


@dataclass(frozen=True)
class LogFile:
    """One file of a log."""

    name: str
    size: int  # bytes
    modified: datetime


class Files(Protocol):
    """Where the files are."""

    @property
    def place(self) -> str:
        """For people."""

    def all(self) -> list[LogFile]:
        """Return the files, the one written to last at the end. Raises HealthError."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return a piece of a file; nothing when it is gone or ends before. Raises HealthError."""


@dataclass(frozen=True)
class LocalFiles:
    """Files that this process can open."""

    folder: Path
    fits: Callable[[str], bool]

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def all(self) -> list[LogFile]:
        """Return the files in the folder."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if self.fits(entry.name) and entry.is_file():
                        status = entry.stat()
                        at = datetime.fromtimestamp(status.st_mtime, UTC)
                        found.append(LogFile(entry.name, status.st_size, at))
        except OSError as error:
            raise HealthError(
                f"The log in {self.folder} can't be listed: {error.strerror}. Nothing was changed."
            ) from None
        return sorted(found, key=lambda each: (each.modified, each.name))

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return a piece of a file."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise HealthError(
                f"The log {self.folder / name} can't be read: {error.strerror}. Nothing was "
                "changed. Run this as a user who may read it."
            ) from None


@dataclass(frozen=True)
class ServersFiles:
    """Files that the server reads for us, wherever it is."""

    connection: Connection
    fits: Callable[[str], bool]
    folder: str

    @property
    def place(self) -> str:
        """The folder, on the server."""
        return f"{self.folder} on {self.connection.info.host or 'this machine'}"

    def all(self) -> list[LogFile]:
        """Return the files in the server's log_directory."""
        rows = self._ask("SELECT name, size, modification FROM pg_ls_logdir()", [])
        found = [LogFile(*row) for row in rows if self.fits(row[0])]
        return sorted(found, key=lambda each: (each.modified, each.name))

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return a piece of a file."""
        rows = self._ask(
            "SELECT pg_read_binary_file(%s, %s, %s, true)",
            [f"{self.folder}/{name}", offset, length],
        )
        return bytes(rows[0][0] or b"")

    def _ask(self, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(query.encode(), values).fetchall()
        except psycopg.Error as error:
            raise HealthError(
                f"The server does not show its log: {one_line(error)}. Nothing was changed."
            ) from None


def fitting(filename: str, ending: str) -> Callable[[str], bool]:
    """Return what tells the files of a log_filename; `ending` is .csv, .json or "" for its own.

    csvlog and jsonlog put their own ending in the place of .log, or behind another one.
    """
    stem = filename.removesuffix(".log") if ending else filename
    pattern = ""
    position = 0
    while position < len(stem):
        if stem[position] == "%" and position + 1 < len(stem):
            pattern += "%" if stem[position + 1] == "%" else "*"
            position += 2
        else:
            character = stem[position]
            pattern += f"[{character}]" if character in "*?[" else character
            position += 1
    return lambda name: fnmatchcase(name, pattern + ending)


def blocks(files: Files, name: str, offset: int, end: int) -> Iterator[bytes]:
    """Yield a file from `offset` to `end`, piece by piece."""
    while offset < end:
        piece = files.read(name, offset, min(_BLOCK, end - offset))
        if not piece:
            return
        yield piece
        offset += len(piece)
