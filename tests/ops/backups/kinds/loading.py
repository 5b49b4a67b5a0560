"""The corpus in a database of its own, in an installation that can back it up and restore it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyrage
from django.conf import settings
from django.test import override_settings

from ops.postgres import roles
from ops.rls.router import as_owner_by_default
from tests.harness import database, run
from tests.ops.backups.conftest import SIGNING_KEY, Backups
from tests.ops.backups.kinds import KINDS, Kind

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Corpus:
    """An installation whose database holds kinds of objects."""

    backups: Backups
    kinds: tuple[Kind, ...]  # that this server knows
    unmade: dict[str, str]  # what the server said against the SQL of some

    @property
    def name(self) -> str:
        """The database."""
        return self.backups.database

    def owner(self) -> Connection:
        """Connect as the owner's login, in autocommit mode."""
        return _owner(self.name)


def _owner(name: str) -> Connection:
    login = {"dbname": name, "user": roles.OWNER, "password": database.PASSWORD}
    return psycopg.connect(**{**database.admin(), **login}, autocommit=True)


@contextmanager
def loaded(label: str, *, refused: bool, of: Sequence[Kind] = KINDS) -> Iterator[Corpus]:
    """Make a database with the owner's kinds; or those that an administrator has to restore."""
    with ExitStack() as stack:
        name = stack.enter_context(database.clone(label))
        stack.enter_context(database.pointed_at(name))
        database.provide_template(name)
        backups = stack.enter_context(_installed(name))
        with database.connect(name) as connection:
            major = connection.info.server_version // 10_000
        kinds = [each for each in of if each.since <= major and bool(each.refused) == refused]
        made, unmade = _made(name, kinds, by_owner=not refused)
        yield Corpus(backups, tuple(made), unmade)


@contextmanager
def _installed(name: str) -> Iterator[Backups]:
    """Provide a storage and keys of its own, as the fixture `backups` does for one test."""
    with tempfile.TemporaryDirectory(dir=run.folder()) as folder:
        Path(folder).chmod(0o711)
        var, file = Path(folder, "var"), Path(folder, "identity.txt")
        var.mkdir(mode=0o711)
        identity = pyrage.x25519.Identity.generate()
        file.write_text(f"{identity}\n")
        file.chmod(0o600)
        storages = {
            **settings.STORAGES,
            "dbbackup": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": str(var / "backups")},
            },
        }
        with (
            override_settings(
                VAR_DIR=var,
                STORAGES=storages,
                BACKUP_AGE_RECIPIENTS=[str(identity.to_public())],
                BACKUP_AGE_IDENTITY_FILES=[str(file)],
                BACKUP_SIGNING_KEY=SIGNING_KEY,
                BACKUP_SIGNING_KEY_FALLBACKS=[],
            ),
            as_owner_by_default(),
        ):
            yield Backups(name, var, file, str(identity.to_public()))


def _made(name: str, kinds: Sequence[Kind], *, by_owner: bool) -> tuple[list[Kind], dict[str, str]]:
    """Make each kind, by itself; return those that could be made, and what was said of others."""
    made, unmade = [], {}
    with _owner(name) if by_owner else database.connect(name) as connection:
        for kind in kinds:
            try:
                with connection.transaction():
                    connection.execute(f"CREATE SCHEMA {kind.schema}".encode())
                    look_into(connection, kind)
                    connection.execute(kind.filled(kind.sql).encode())
                made.append(kind)
            except psycopg.Error as error:
                unmade[kind.name] = str(error)
    return made, unmade


def look_into(connection: Connection, kind: Kind) -> None:
    """Let names mean those of the kind's own schema, until the transaction ends."""
    connection.execute(f"SET LOCAL search_path = {kind.schema}".encode())


def changed(connection: Connection, kinds: Sequence[Kind]) -> dict[str, str]:
    """Change each kind; return what was said against some changes."""
    unchanged = {}
    for kind in kinds:
        try:
            with connection.transaction():
                look_into(connection, kind)
                connection.execute(kind.filled(kind.change).encode())
        except psycopg.Error as error:
            unchanged[kind.name] = str(error)
    return unchanged
