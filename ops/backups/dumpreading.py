"""Reading a dump to its last byte: what is written here passes through pg_restore, and is counted.

Three programs work at once: one pg_restore writes the rows out, `dumpscan` counts them, and
another pg_restore lists the table of contents, which tells what is defined besides the rows.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.backups import dumpscan
from ops.backups.dumpscan import DumpContents
from ops.backups.errors import DamagedError
from ops.backups.manifest import Manifest
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import PIPE_BYTES, StreamingProcess

FINISH = 600.0  # seconds a program may take to end after its input has
_NEWEST_MAJOR = 30
_TABLE = re.compile(r"^\d+; \d+ \d+ TABLE (?P<rest>.*)$", re.MULTILINE)
_DATABASE = re.compile(r"^;\s+dbname: (?P<name>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class DumpFound:
    """What a dump turned out to hold."""

    contents: DumpContents
    tables: frozenset[str]  # the beginnings, at each blank, of "SCHEMA NAME OWNER" of definitions
    database: str  # of which it says it is

    def defines(self, schema: str, name: str) -> bool:
        """Whether the definition of a table is in it."""
        return _on_a_line(f"{schema} {name}") in self.tables


def made_by(manifest: Manifest) -> int:
    """Return the major version of the pg_dump that wrote a backup."""
    return int(manifest.programs.get("pg_dump") or manifest.server["major"])


def restore_program(major: int) -> Path:
    """Return a pg_restore that reads what pg_dump of this major version wrote.

    Raises ToolError when there are older ones only.
    """
    shipped = tools.shipped_binaries()
    own = tools.major_of(shipped / "pg_restore") if shipped else None
    if own is not None and own >= major:
        return tools.find("pg_restore", own)
    for newer in range(major, _NEWEST_MAJOR):
        with suppress(ToolError):
            return tools.find("pg_restore", newer)
    return tools.find("pg_restore", major)


class DumpReading:
    """A sink for a dump. `finish` tells what was in it; leaving the block ends the programs."""

    def __init__(self, program: Path) -> None:
        self._rows = _Feed(program, "--section=data", "--file=-")
        self._scanner = StreamingProcess(
            Path(sys.executable), "-I", "-S", dumpscan.__file__,
            environment=tools.environment(),
            stdin=self._rows.process.stdout,
        )  # fmt: skip
        self._rows.process.stdout.close()  # the scanner alone has it now, and its end is noticed
        self._list = _Feed(program, "--list")
        self._listed = _Collected(self._list.process)

    def write(self, data: bytes) -> None:
        """Take a piece of the dump. A program that died is told about by `finish`."""
        self._rows.write(data)
        self._list.write(data)

    def finish(self) -> DumpFound:
        """Return what was in it. Raises DamagedError when it can't be read to its last byte."""
        self._list.close()
        try:
            self._rows.finish()
            scanned = self._scanner.stdout.read()
            self._scanner.finish(FINISH)
            listed = self._listed.text()
            self._list.finish()
        except ToolError as error:
            raise DamagedError(f"the dump in it can't be read to its end: {error}") from None
        database = _DATABASE.search(listed)
        return DumpFound(
            DumpContents.from_json(scanned),
            frozenset(_beginnings(listed)),
            database["name"] if database else "",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for feed in (self._rows, self._list):
            feed.kill()
        self._scanner.kill()


class _Feed:
    """A program that reads what is written here and whose output somebody else reads."""

    def __init__(self, program: Path, *arguments: str) -> None:
        read, write = os.pipe()
        with suppress(OSError):  # the user's share of pipe memory may be used up
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._pipe = os.fdopen(write, "wb", buffering=1 << 18)
        try:
            with os.fdopen(read, "rb") as stdin:
                self.process = StreamingProcess(
                    program, *arguments, environment=tools.environment(), stdin=stdin
                )
        except BaseException:
            self._pipe.close()
            raise

    def write(self, data: bytes) -> None:
        if not self._pipe.closed:
            try:
                self._pipe.write(data)
            except BrokenPipeError:
                self.close()

    def finish(self) -> None:
        self.close()
        self.process.finish(FINISH)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        # What was not taken yet is of no use, and the descriptor is closed in any case.
        with suppress(BrokenPipeError):
            self._pipe.close()


class _Collected:
    """A program's whole output, read in a thread so that it never waits for us."""

    def __init__(self, process: StreamingProcess) -> None:
        self._parts: list[bytes] = []
        self._process = process
        self._thread = threading.Thread(target=self._read, name="dump-list", daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join()
        return b"".join(self._parts).decode(errors="replace")

    def _read(self) -> None:
        with suppress(OSError, ValueError):  # closed when the program was ended
            while part := self._process.stdout.read(1 << 16):
                self._parts.append(part)


def _beginnings(listed: str) -> set[str]:
    found = set()
    for match in _TABLE.finditer(listed):
        rest = match["rest"]
        found |= {rest[:end] for end, letter in enumerate(rest) if letter == " "}
    return found


def _on_a_line(name: str) -> str:
    """Return a name as pg_restore lists it."""
    return name.replace("\n", " ").replace("\r", " ")
