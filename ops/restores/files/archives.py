"""pg_dump's archives (custom, tar, a packed directory) as the SQL script that pg_restore makes.

So there is one way for every file: what is in an archive is looked at, and kept from doing harm, as
what is in a script is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from ops.backups.errors import BackupError
from ops.backups.scratch import Scratch
from ops.backups.tarreading import TarReading
from ops.errors import OpsError
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess
from ops.restores.errors import RefusedError
from ops.restores.files.opening import CHUNK, Form, Opened, Reading

FINISH = 600.0  # seconds that pg_restore may take to end after its output has
_TOC = "toc.dat"
Script = Callable[[], AbstractContextManager[Iterator[bytes]]]


@contextmanager
def script_of_archive(
    opened: Opened, place: Scratch, on_bytes: Callable[[int], None]
) -> Iterator[Script]:
    """Lend what opens an archive as a script, as often as it is asked to.

    Raises RefusedError for an archive that is none, and BackupError when there is no room.
    """
    shipped = tools.shipped_binaries()
    major = (tools.major_of(shipped / "pg_restore") if shipped else None) or 0
    program = tools.find("pg_restore", major)
    folder = _unpacked(opened, place, on_bytes) if opened.form is Form.TAR else None

    @contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        if folder is not None:
            with _program(opened, program, "--format=directory", str(folder)) as output:
                yield output
            return
        with (
            opened.reading(on_bytes) as reading,
            _fed(reading) as stdin,
            _program(opened, program, "--format=custom", stdin=stdin) as output,
        ):
            yield output

    yield pieces


def _unpacked(opened: Opened, place: Scratch, on_bytes: Callable[[int], None]) -> Path:
    """Unpack a tar: what pg_dump's own holds is a directory of its directory format as well."""
    folder = place.folder / "unpacked"
    folder.mkdir(mode=0o700)
    with opened.reading(on_bytes) as reading:
        size = 0
        while data := reading.read(CHUNK):
            size += len(data)
    place.require_room(size)
    with opened.reading(on_bytes) as reading, TarReading(folder) as unpacking:
        while data := reading.read(CHUNK):
            unpacking.write(data)
        try:
            unpacking.finish(opened.path.name)
        except BackupError as error:
            raise RefusedError(f"{error} Nothing was begun.") from None
    found = sorted(folder.rglob(_TOC), key=lambda path: len(path.parts))
    if not found:
        raise RefusedError(
            f"{opened.path} is a tar without a table of contents of pg_dump. Nothing was begun."
        )
    return found[0].parent


@contextmanager
def _program(
    opened: Opened, program: Path, *arguments: str, stdin: IO[bytes] | None = None
) -> Iterator[Iterator[bytes]]:
    with StreamingProcess(
        program, "--file=-", *arguments, environment=tools.environment(), stdin=stdin
    ) as process:
        if stdin is not None:
            stdin.close()  # the program alone has it now, and its end is noticed

        def output() -> Iterator[bytes]:
            while data := process.stdout.read(CHUNK):
                yield data
            try:
                process.finish(FINISH)
            except ToolError as error:
                raise RefusedError(
                    f"{opened.path.name} can't be read to its end: {error} It is damaged, cut off "
                    "or made by a newer pg_dump. Nothing of the live database was touched."
                ) from None

        yield output()


@contextmanager
def _fed(reading: Reading) -> Iterator[IO[bytes]]:
    """Lend a pipe that a thread fills; what went wrong there is raised when the block ends."""
    read, write = os.pipe()
    failures: list[Exception] = []

    def feed() -> None:
        try:
            with suppress(BrokenPipeError), os.fdopen(write, "wb") as sink:
                while data := reading.read(CHUNK):
                    sink.write(data)
        except Exception as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    thread = threading.Thread(target=feed, name="archive", daemon=True)
    with os.fdopen(read, "rb") as pipe:
        thread.start()
        try:
            yield pipe
        except OpsError:
            thread.join()
            if failures:  # the program merely met an early end
                raise failures[0] from None
            raise
        finally:
            with suppress(OSError):
                pipe.close()
            thread.join()
    if failures:
        raise failures[0]
