"""What `dbrestore` does with a backup of ours: sniffed, opened, and restored in one transaction.

An object that has a manifest is held against it first; one that has none is read to its end first.
So nothing that is damaged touches the database.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ops.backups import keys
from ops.backups.errors import BackupError, DamagedError
from ops.backups.incoming import Sink, receive, unpack
from ops.backups.manifest import LONGEST, Manifest, StoredObject, manifest_name
from ops.backups.naming import parse_name
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.postgres import tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess

HOURS = 3600.0
LOCK_WAIT = 30.0  # seconds, for sessions that use the tables it replaces
_AGE, _GZIP, _ZSTD, _DUMP = b"age-encryption.org/", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PGDMP"
# Whoever provisions a database makes these, and the login of a restore does not own them.
_PROVISIONED = re.compile(
    r"^\d+; \d+ \d+ (?:EXTENSION|COMMENT - EXTENSION|SCHEMA - public|COMMENT - SCHEMA public) "
)


@dataclass(frozen=True)
class Source:
    """A backup that can be read as often as needed."""

    name: str
    again: Callable[[], IO[bytes]]


def restore(
    source: Source, endpoint: Endpoint, *, arguments: Sequence[str] = ("--clean", "--if-exists")
) -> None:
    """Restore a dump into the endpoint's database: all of it or, by one transaction, nothing.

    Raises OpsError; the database is as it was then.
    """
    program = endpoint.program("pg_restore")
    stored = _checked(source)
    application = f"srvc restore {secrets.token_hex(4)}"
    with (
        _table_of_contents(source, stored, program) as wanted,
        endpoint.connect(application_name="srvc restore watch") as connection,
        WritingProcess(
            program,
            *endpoint.arguments(),
            "--no-password",
            "--single-transaction",
            "--exit-on-error",
            f"--use-list={wanted}",
            *arguments,
            environment={**endpoint.environment(), "PGAPPNAME": application},
        ) as process,
        watched(lambda: _require_progress(connection, application, endpoint)) as watch,
    ):
        watch.stop_by(process.kill)
        # When it dies early, its exit status says more than the pipe.
        with suppress(BrokenPipeError):
            _unpack(source, stored, process.stdin)
        try:
            process.finish(HOURS)
        except ToolError as error:
            raise _failed(endpoint, str(error)) from None


def _require_progress(connection: Connection, application: str, endpoint: Endpoint) -> None:
    """Raise BackupError when the restore waits too long for a lock: pg_restore itself has no limit.

    While it waits, everybody else who wants the table waits behind it.
    """
    row = connection.execute(
        "SELECT coalesce(l.relation::regclass::text, l.locktype), pg_blocking_pids(l.pid)"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE a.application_name = %s AND NOT l.granted"
        " AND l.waitstart < clock_timestamp() - make_interval(secs => %s)",
        [application, LOCK_WAIT],
    ).fetchone()
    if row is not None:
        holders = ", ".join(map(str, row[1])) or "nobody any more"
        raise _failed(
            endpoint,
            f"{row[0]} is in use for too long (by process {holders} of the server). End that, or "
            "stop SRVC, and run this again.",
        )


def _checked(source: Source) -> StoredObject:
    """Return how to open it, after every byte of it was looked at."""
    stored = _by_manifest(source)
    if stored is not None:
        with source.again() as file:
            receive(file, stored, _Nothing())
        return stored
    stored = sniffed(source)
    _unpack(source, stored, _Nothing())
    return stored


def _by_manifest(source: Source) -> StoredObject | None:
    """Return what the manifest says about it, or None when it has none in the storage."""
    name = source.name.partition(".")[0]
    vault = Vault.primary()
    if parse_name(name) is None or not vault.exists(manifest_name(name)):
        return None
    content = vault.read(manifest_name(name), LONGEST)
    manifest = Manifest.read(content, keys.signing_keys(), name=name)
    return next((each for each in manifest.objects if each.name == source.name), None)


def sniffed(source: Source) -> StoredObject:
    """Return how an object without a manifest is encrypted and compressed, by its first bytes.

    Raises DamagedError when there is no dump in it, and KeyMissingError when nothing opens it.
    """
    stored = StoredObject("archive", source.name, 0, "", 0, "none", "none")
    with source.again() as file:
        beginning = bytes(file.read(64))
    if beginning.startswith(_AGE):
        own = [str(identity.to_public()) for identity in keys.age_identities()]
        stored = replace(stored, encryption="age", recipients=own)
    # An OpenPGP message begins with a packet's tag, whose first bit is set; ours are no such.
    elif beginning[:1] >= b"\x80":
        stored = replace(stored, encryption="gpg")
    if stored.encryption != "none":
        beginning = _beginning(source, stored)
    if beginning.startswith((_ZSTD, _GZIP)):
        stored = replace(stored, compression="gzip" if beginning[:2] == _GZIP else "zstd")
        beginning = _beginning(source, stored)
    if not beginning.startswith(_DUMP):
        raise DamagedError(
            f"There is no dump of pg_dump in {source.name}. The database is as it was."
        )
    return stored


class _EnoughError(Exception):
    """The first bytes have been seen."""


class _Beginning:
    def __init__(self) -> None:
        self.seen = b""

    def write(self, data: bytes) -> None:
        self.seen += data
        if len(self.seen) >= 64:
            raise _EnoughError


class _Nothing:
    def write(self, data: bytes) -> None:
        """Take some bytes and forget them."""


def _beginning(source: Source, stored: StoredObject) -> bytes:
    sink = _Beginning()
    with suppress(_EnoughError):
        _unpack(source, stored, sink)
    return sink.seen


def _unpack(source: Source, stored: StoredObject, sink: Sink) -> None:
    with source.again() as file:
        unpack(file, stored, sink)


@contextmanager
def _table_of_contents(source: Source, stored: StoredObject, program: Path) -> Iterator[Path]:
    """Yield a file that lists what to restore: everything but what provisioning makes."""
    listed: list[str] = []
    with WritingProcess(
        program, "--list", environment=tools.environment(), on_output=listed.append
    ) as process:
        with suppress(BrokenPipeError):  # it has seen enough
            _unpack(source, stored, process.stdin)
        try:
            process.finish(tools.MINUTE)
        except ToolError as error:
            raise DamagedError(
                f"{source.name} can't be read: {error} The database is as it was."
            ) from None
    with tempfile.NamedTemporaryFile("w", prefix="srvc-restore-", suffix=".list") as file:
        file.writelines(f"{line}\n" for line in listed if not _PROVISIONED.match(line))
        file.flush()
        yield Path(file.name)


def _failed(endpoint: Endpoint, why: str) -> BackupError:
    return BackupError(
        f"The backup was not restored into {endpoint.database}: {why} The database is as it was."
    )
