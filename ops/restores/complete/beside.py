"""A dump on its way into a database beside the live one, on the same server, by the owner's login.

What is made here is thrown away by whoever made it, unless it took a name of its own; what a killed
process left goes with the next restore, which holds the lock and so knows that nobody works on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql

from ops.backups.dumpreading import made_by
from ops.backups.manifest import Manifest
from ops.backups.watch import watched
from ops.postgres import server, tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ToolError, one_line
from ops.postgres.processes import StreamingProcess
from ops.postgres.roles import template_of
from ops.progress import Progress
from ops.restores.errors import RefusedError, RestoreError

LONGEST_NAME = 63  # bytes; PostgreSQL cuts off what is longer
# By this a database beside is told from one that somebody happened to call so.
MARK = "srvc restore"
SECTIONS = ("pre-data", "data", "post-data")
# Provisioning made these, and the owner's login owns no extension.
_PROVISIONED = re.compile(r"^\d+; \d+ \d+ (?:EXTENSION|COMMENT - EXTENSION|SCHEMA - public) ")
_ITEM = re.compile(r"^\d+; ")
_FINISHED = re.compile(r"^pg_restore: (?:finished item|finished main)")
_FINISH = 7 * 24 * 3600.0  # seconds
# What every login may set. Nobody else reads the database before it is whole, and the rows are
# compared before anybody does.
_FAST = {
    "synchronous_commit": "off",
    "maintenance_work_mem": "256MB",
    "max_parallel_maintenance_workers": "2",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}


def name_beside(live: str, word: str, mark: str | int) -> str:
    """Return `LIVE_WORD_MARK`, the beginning cut off where PostgreSQL would cut the end."""
    suffix = f"_{word}_{mark}"
    room = LONGEST_NAME - len(suffix.encode())
    return live.encode()[:room].decode(errors="ignore") + suffix


# --- the database ----------------------------------------------------------------------------


@contextmanager
def database_beside(session: Connection, live: Endpoint, name: str) -> Iterator[Endpoint]:
    """Make an empty database beside, and drop it again unless the block ends well.

    `session` is the owner's, on another database of the server. Raises RestoreError.
    """
    _create(session, live, name)
    try:
        yield live.at(name)
    except BaseException:
        with suppress(psycopg.Error):
            server.drop_database(session, name, end_sessions=True)
        raise


def remove_left_overs(session: Connection, live: str, begun: Sequence[str] = ()) -> list[str]:
    """Drop what killed restores left; called by who holds the lock. Returns their names.

    `begun` are names that restores recorded before they made anything: whoever was killed within
    that moment left a database without a mark.
    """
    rows = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        " AND (starts_with(shobj_description(oid, 'pg_database'), %s) OR datname = ANY(%s)"
        "  AND shobj_description(oid, 'pg_database') IS NULL)"
        " AND pg_get_userbyid(datdba) = current_user",
        [name_beside(live, "restore", ""), f"{MARK} of {live}", list(begun)],
    ).fetchall()
    dropped = []
    for (name,) in rows:
        with suppress(psycopg.Error):
            server.drop_database(session, name, end_sessions=True)
            dropped.append(name)
    return dropped


def _create(session: Connection, live: Endpoint, name: str) -> None:
    template = template_of(live.database)
    if not server.database_exists(session, template):
        template = "template0"
    try:
        server.create_from_template(session, name, template, owner=live.user)
        session.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name), sql.Literal(f"{MARK} of {live.database}, not complete")
            )
        )
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            server.drop_database(session, name, end_sessions=True)
        raise RestoreError(
            f"A database could not be made beside {live.database}: {one_line(error)}. Nothing was "
            "changed. `manage.py provision` gives the owner's login what it needs for that."
        ) from None


def make_extensions(beside: Endpoint, wanted: dict[str, str], admin: Endpoint | None) -> None:
    """Make the extensions that a dump needs and the template did not bring. Raises RefusedError."""
    with beside.connect() as connection:
        connection.execute(
            sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(beside.user))
        )
        there = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    for name in sorted(wanted.keys() - there):
        refused = _make_extension(beside, name)
        if refused and admin is not None:
            refused = _make_extension(admin.at(beside.database), name)
        if refused:
            raise RefusedError(
                f"The extension {name} could not be made beside: {refused}. The live database was "
                "not touched. `manage.py provision` makes a template that has it; or run this with "
                "DATABASE_ADMIN_URL set to a superuser's address."
            )


def _make_extension(place: Endpoint, name: str) -> str:
    with place.connect() as connection:
        try:
            connection.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(
                    sql.Identifier(name)
                )
            )
        except psycopg.Error as error:
            return one_line(error).rstrip(".")
    return ""


# --- the dump --------------------------------------------------------------------------------


def fill(
    file: Path,
    manifest: Manifest,
    beside: Endpoint,
    progress: Progress,
    *,
    sections: Sequence[str] = SECTIONS,
    jobs: int = 2,
) -> None:
    """Restore sections of a dump in a file, by several sessions; an error ends it.

    Raises RestoreError with what the server said.
    """
    program = _program(manifest, beside)
    wanted, items = list_wanted(program, file, sections)
    progress.phase(_LABELS.get(tuple(sections), "restoring"), items, "objects")
    errors: list[str] = []  # what comes behind them is their detail, and the whole statement

    def listen(line: str) -> None:
        if line.startswith("pg_restore: error: "):
            errors.append(line.removeprefix("pg_restore: error: "))
        elif _FINISHED.match(line):
            progress.advance(1)

    with (
        StreamingProcess(
            program,
            *beside.arguments(),
            "--no-password",
            "--exit-on-error",
            "--verbose",
            f"--jobs={max(jobs, 1)}",
            f"--use-list={wanted}",
            *(f"--section={section}" for section in sections),
            str(file),
            environment={**beside.environment(), "PGOPTIONS": _options()},
            on_line=listen,
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        try:
            process.finish(_FINISH)
        except ToolError as error:
            progress.check()
            raise RestoreError(_told(manifest, errors[0] if errors else str(error))) from None


_LABELS = {
    SECTIONS: "restoring",
    SECTIONS[:1]: "restoring definitions",
    SECTIONS[1:2]: "restoring rows",
    SECTIONS[:2]: "restoring definitions and rows",
    SECTIONS[2:]: "building indexes and constraints",
}


def _options() -> str:
    return " ".join(f"-c {name}={value}" for name, value in _FAST.items())


def _program(manifest: Manifest, beside: Endpoint) -> Path:
    """Return the server's own pg_restore: a newer one sets what an older server does not know."""
    if made_by(manifest) > beside.major:
        raise RefusedError(
            f"{manifest.name} was written by pg_dump {made_by(manifest)}, which PostgreSQL "
            f"{beside.major} can't take. Nothing was changed. Restore it on a server of "
            f"PostgreSQL {made_by(manifest)}."
        )
    return beside.program("pg_restore")


def list_wanted(program: Path, file: Path, sections: Sequence[str]) -> tuple[Path, int]:
    """Write beside the dump what of it is restored; return that file, and how much it is."""
    listed = tools.run(program, "--list", str(file), seconds=tools.MINUTE * 10).stdout
    lines = [line for line in listed.splitlines() if not _PROVISIONED.match(line)]
    wanted = file.with_name(f"{file.name}.{'+'.join(sections)}.list")
    wanted.write_text("".join(f"{line}\n" for line in lines))
    return wanted, sum(1 for line in lines if _ITEM.match(line))


def _told(manifest: Manifest, error: str) -> str:
    error = error.rstrip(".")
    if "No space left on device" in error:
        return (
            f"The disk of the server is full: {manifest.name} could not be restored beside "
            f"({error}). The live database was not touched, and what was begun is removed. Free "
            "some, and run this again."
        )
    return (
        f"{manifest.name} could not be restored beside: {error}. The live database was not "
        "touched, and what was begun is removed."
    )
