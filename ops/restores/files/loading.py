"""A dump that somebody else made, loaded into a private server of its own.

The file may be anything, and made to do harm. So nothing of it is ever executed on the live server,
and on the private one only by a login that owns its database and may do nothing else: no superuser,
no file and no program of the machine is within its reach. psql is kept from its own commands by its
restricted mode, with a key that the file can't know. What a superuser has to make (roles, trusted
extensions) is made beforehand, of names alone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import make_conninfo

from ops.backups.scratch import FACTOR, Scratch, scratch
from ops.backups.watch import watched
from ops.postgres import tools
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.files.archives import script_of_archive
from ops.restores.files.harmless import Prepared, prepare, settle
from ops.restores.files.opening import CHUNK, Form, Opened, look_at
from ops.restores.files.own_schema import own_schema
from ops.restores.files.script import Passing, Survey, survey, told
from ops.restores.private import PrivateDatabase
from ops.runs import OWNER

FINISH = 24 * 3600.0  # seconds that psql may take once it has everything
_ERROR = re.compile(r"^psql:<stdin>:\d+: (?:ERROR|FATAL|PANIC):\s+(?P<why>.*)$")
Script = Callable[[], AbstractContextManager[Iterator[bytes]]]


@contextmanager
def loaded(path: Path, progress: Progress) -> Iterator[PrivateDatabase]:
    """Lend what is in somebody else's dump, in a database that has the live one's name.

    Plain SQL of pg_dump, its custom and tar formats, a packed directory, django-dbbackup's objects;
    each may be packed by gzip or zstd, and encrypted by age or GPG. Rows alone are loaded into our
    own schema. Raises RefusedError, which says what is wrong with the file; KeyMissingError; and
    BackupError when there is no room.
    """
    progress.phase(f"looking at {path.name}")
    opened = look_at(path)
    with scratch() as place:
        size = path.stat().st_size
        with _script(opened, place, progress) as script:
            progress.phase(f"reading {path.name}", size, "bytes")
            with script() as pieces:
                found = survey(path.name, pieces)
            _require_whole(found)
            schema = own_schema() if found.holds_rows_alone else None
            place.require_room(int(found.size * FACTOR))
            progress.phase("starting a private server")
            name = Endpoint.of(OWNER).database
            prepared = prepare(place, name, found, schema, progress)
            passing = Passing(
                reserved=prepared.reserved, schemas=prepared.schemas, tables=prepared.tables
            )
            progress.phase(f"loading {path.name}", size, "bytes")
            with script() as pieces:
                _load(place, name, prepared, passing.passed(pieces), path.name, progress)
        settle(place, name, found, schema, prepared, progress)
        notes = (*prepared.notes, *told(passing.left_out))
        for note in notes:
            progress.say(note)
        yield PrivateDatabase(
            place=place, name=name, origin=f"the file {path.name}", holds=None, notes=notes
        )


@contextmanager
def _script(opened: Opened, place: Scratch, progress: Progress) -> Iterator[Script]:
    """Lend what opens the file as an SQL script, as often as it is asked to."""

    def on_bytes(count: int) -> None:
        progress.check()
        progress.advance(count)

    if opened.form is not Form.SQL:
        with script_of_archive(opened, place, on_bytes) as script:
            yield script
        return

    @contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        with opened.reading(on_bytes) as reading:
            yield iter(lambda: reading.read(CHUNK), b"")

    yield pieces


def _require_whole(found: Survey) -> None:
    if found.is_cluster:
        raise RefusedError(
            f"{found.name} is a dump of a whole server, as pg_dumpall makes it, with several "
            "databases in it. Nothing was begun. Dump the one database by pg_dump."
        )
    if not (found.is_begun and found.is_complete and found.is_between):
        raise RefusedError(
            f"{found.name} is cut off: it does not end as pg_dump ends a dump. psql would restore "
            "what is there and say nothing. Nothing was begun. Fetch or make it again."
        )
    shipped = tools.shipped_binaries()
    own = (tools.major_of(shipped / "psql") if shipped else None) or 0
    newest = max(found.dump_major or 0, found.server_major or 0)
    if newest > own:
        raise RefusedError(
            f"{found.name} is of PostgreSQL {newest}, and SRVC brings {own}, which can't read all "
            "that a newer one writes. Nothing was begun. Use a version of SRVC that brings "
            f"PostgreSQL {newest}."
        )
    if not (found.filled or found.created):
        raise RefusedError(f"There are no tables and no rows in {found.name}. Nothing was begun.")


def _load(
    place: Scratch,
    name: str,
    prepared: Prepared,
    pieces: Iterator[bytes],
    called: str,
    progress: Progress,
) -> None:
    address = place.server.connection
    errors: list[str] = []

    def listen(line: str) -> None:
        if found := _ERROR.match(line):
            errors.append(found["why"])

    conninfo = make_conninfo(
        host=str(address["host"]), port=str(address["port"]), user=prepared.login, dbname=name
    )
    key = secrets.token_hex(16)
    with (
        WritingProcess(
            tools.find("psql", place_major()),
            f"--dbname={conninfo}",
            "--no-psqlrc",
            "--no-password",
            "--quiet",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            "--file=-",
            environment=tools.environment(prepared.password),
            on_line=listen,
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        # When it dies early, what it said tells more than the pipe.
        with suppress(BrokenPipeError):
            process.stdin.write(f"\\restrict {key}\n".encode())
            for piece in pieces:
                process.stdin.write(piece)
            process.stdin.flush()
        progress.phase("waiting for the private server")
        try:
            process.finish(FINISH)
        except ToolError as error:
            progress.check()
            raise _refused(called, errors[0] if errors else str(error), prepared) from None


def place_major() -> int:
    """Return the major version of the server that SRVC brings."""
    shipped = tools.shipped_binaries()
    return (tools.major_of(shipped / "postgres") if shipped else None) or 0


def _refused(called: str, why: str, prepared: Prepared) -> RefusedError:
    lacking = f" {' '.join(prepared.notes)}" if prepared.notes else ""
    return RefusedError(
        f"{called} can't be loaded: {why.rstrip('.')}.{lacking} It was tried on a private server; "
        "nothing of the live one was touched."
    )
