"""A database with one of everything, and the copy of it that pg_dump and pg_restore make."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from ops.backups.fingerprint import fingerprint
from ops.backups.proof import Proof
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.selection import LARGE_OBJECTS, all_tables
from ops.postgres import server, tools
from tests.harness import database, run

Connection = psycopg.Connection[tuple[Any, ...]]

READER, WRITER = "srvc_member", "srvc_admin"  # the run's template brings them


def proof_of(connection: Connection) -> Proof:
    """Return the proof of a whole database, as it is in the connection's transaction."""
    tables = [table for table in all_tables(connection) if table.kind != "partitioned"]
    return Proof(
        table_proofs(connection, [*tables, LARGE_OBJECTS]),
        sequence_proofs(connection),
        fingerprint(connection),
    )


@functools.cache
def everything() -> str:
    """Return the database with one of everything, made once per worker. Change it in rollbacks.

    The roles it grants to come with the fixture django_db_setup.
    """
    name = f'{run.name()}_{_worker()}_one of "everything"'
    statements = Path(__file__).with_name("one_of_everything.sql").read_text()
    with database.connect() as connection:
        server.create_database(connection, name, owner="srvc_owner")
    with database.connect(name) as connection:
        filled = statements.replace("{reader}", READER).replace("{writer}", WRITER)
        connection.execute(filled.encode())
    return name


@functools.cache
def restored() -> str:
    """Return its copy, made once per worker. Change it in rollbacks."""
    name = f"{everything()} restored"
    dump_and_restore(everything(), name)
    return name


def dump_and_restore(source: str, name: str) -> None:
    """Make a database and restore another's dump into it."""
    with database.connect() as connection:
        major = server.facts(connection).major
        server.create_database(connection, name, owner="srvc_owner")
    archive = run.folder() / f"{name.replace('/', '_')}.dump"
    try:
        _run("pg_dump", major, source, "--format=custom", f"--file={archive}")
        _run("pg_restore", major, name, "--exit-on-error", str(archive))
    finally:
        archive.unlink(missing_ok=True)


@contextmanager
def rolled_back(name: str) -> Iterator[Connection]:
    """Connect, and undo at the end whatever was done."""
    with database.connect(name) as connection, connection.transaction(force_rollback=True):
        yield connection


def _run(program: str, major: int, name: str, *arguments: str) -> None:
    target = database.admin() | {"dbname": name}
    password = target.pop("password", None)
    tools.run(
        tools.find(program, major),
        f"--dbname={make_conninfo(**target)}",
        *arguments,
        seconds=120,
        password=password,
    )


def _worker() -> str:
    import os

    return os.environ.get("PYTEST_XDIST_WORKER", "main")
