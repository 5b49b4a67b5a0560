"""The proof of a backup: brought back on a scratch server by the restore procedure, and compared.

Rows without definitions (data only, some tables) are restored into the schema of the newest backup
that has their very fingerprint: a data-only backup is worth what such a backup beside it is worth,
and where there is none it can't be proven. The live database would be a poor stand-in, since it is
what a restore replaces.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ops.backups.deepmedia import prove_media
from ops.backups.dump_restore.administrator_needs import restore_limits
from ops.backups.dump_restore.comparing import Compared, Restored, listed
from ops.backups.dump_restore.errors import LoadError, TooNewError
from ops.backups.dump_restore.procedure import Dump, Target, restore_dump
from ops.backups.errors import (
    BackupError,
    CannotProveError,
    DamagedError,
    DisprovenError,
    KeyMissingError,
    MissingObjectError,
)
from ops.backups.fingerprint import database_properties
from ops.backups.inspection import Inspection, read_manifest
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof, TableProof
from ops.backups.receiving import receive_from
from ops.backups.recreate import LOCALE, create_database, create_roles, set_properties
from ops.backups.scratch import FACTOR, Scratch, scratch
from ops.backups.scratch_target import scratch_target
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind
from ops.models.backups import LOGICAL
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError, ToolError, one_line
from ops.progress import CancelledError, Progress

JOBS = 2  # sessions, as a restore has them by itself


def prove(
    seen: Inspection, vault: Vault, progress: Progress, *, server: Scratch | None = None
) -> str:
    """Restore a dump that was found whole; return a sentence about what was compared.

    Raises DisprovenError, which lists what differs; CannotProveError; and BackupError when the disk
    is too small.
    """
    manifest = seen.manifest
    if manifest.kind == BackupKind.MEDIA and "digest" in manifest.details:
        return prove_media(manifest, vault, progress)
    if manifest.kind not in LOGICAL or manifest.proof is None:
        raise CannotProveError(
            f"A {manifest.kind} backup says nothing that a restore could be held against."
        )
    with restored(seen, vault, progress, server=server) as place, said_plainly(manifest):
        compared, differences = place.restored.compare(progress, jobs=JOBS)
        differences += set_up_differs(place)
    if differences:
        raise disproven(differences)
    return (
        f"Restored{''.join(f' {note}' for note in place.notes)} and equal: "
        f"{_told_size(manifest, compared)}.{told_limits(manifest)}"
    )


def told_limits(manifest: Manifest) -> str:
    """Return what a restore of a backup takes besides, in sentences that begin with a blank."""
    return "".join(f" {sentence}" for sentence in restore_limits(manifest.details))


def disproven(differences: Sequence[str]) -> DisprovenError:
    """Return the error that lists what a restore differs in, not all of it when that is a lot."""
    return DisprovenError(f"Restored, it is not what its manifest says. {listed(differences)}")


def _told_size(manifest: Manifest, found: Compared) -> str:
    rows = f"{found.tables:,} tables, {found.rows:,} rows"
    definitions = f"{found.definitions:,} definitions"
    if manifest.kind == BackupKind.SCHEMA:
        return definitions
    return rows if manifest.kind == BackupKind.TABLES else f"{rows}, {definitions}"


# --- where to --------------------------------------------------------------------------------


@dataclass(frozen=True)
class RestoredDump:
    """A dump restored into a database of a scratch server, as long as the block that lends it."""

    server: Scratch
    database: str
    manifest: Manifest
    notes: list[str]  # what is not as it was, in half a sentence each
    restored: Restored


@contextmanager
def restored(
    seen: Inspection, vault: Vault, progress: Progress, *, server: Scratch | None = None
) -> Iterator[RestoredDump]:
    """Restore a dump on a scratch server: the given one, or one that is made for it.

    Raises DisprovenError, CannotProveError, what receive() raises, and BackupError when the disk
    is too small.
    """
    manifest = seen.manifest
    schema = None
    if manifest.kind in {BackupKind.DATA, BackupKind.TABLES} and manifest.proof is not None:
        schema = schema_of(manifest, Proof.from_json(manifest.proof))
    definitions = schema[0] if schema else manifest
    with ExitStack() as stack:
        server = server or stack.enter_context(scratch())
        raw = manifest.archive.raw_size + (schema[0].archive.raw_size if schema else 0)
        server.require_room(int(raw * (1 + FACTOR)))  # the dump itself is on the disk, too
        with said_plainly(manifest):
            progress.phase("starting a scratch server")
            _require_extensions(server, manifest)
            database, notes = stack.enter_context(_database(server, manifest))
            target = scratch_target(server, database, definitions)
            login = _restore(server, target, seen, vault, schema, progress)
        if schema:
            notes.append(f"into the schema of {schema[0].name}")
        yield RestoredDump(
            server, database, manifest, notes, Restored(login, manifest, seen.sequences)
        )


@contextmanager
def _database(server: Scratch, manifest: Manifest) -> Iterator[tuple[str, list[str]]]:
    name = f"proof_{secrets.token_hex(6)}"
    with server.connect() as connection:
        create_roles(connection, manifest.roles_sql)
        locale = create_database(connection, name, manifest.database)
    try:
        yield name, [f"with {locale}"] if locale else []
    finally:
        # The server may be what failed, or was stopped with us.
        with suppress(psycopg.Error, ToolError), server.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _require_extensions(server: Scratch, manifest: Manifest) -> None:
    with server.connect() as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    missing = sorted(manifest.extensions.keys() - {name for (name,) in rows})
    if missing:
        raise CannotProveError(
            f"It could not be proven here: the scratch server lacks the extension(s) "
            f"{', '.join(missing)}."
        )


@contextmanager
def said_plainly(manifest: Manifest) -> Iterator[None]:
    """A scratch server that fails says nothing about the backup."""
    try:
        yield
    except (psycopg.Error, ServerError) as error:
        raise CannotProveError(
            f"{manifest.name} could not be proven: the scratch server failed ({one_line(error)})."
        ) from error


def schema_of(manifest: Manifest, proof: Proof) -> tuple[Manifest, Vault]:
    """Return the newest backup whose definitions are those that these rows came from."""
    digest = proof.fingerprint.digest
    candidates = (
        Backup.objects.good()
        .filter(disproven_at__isnull=True, manifest__proof__fingerprint__digest=digest)
        .newest_first()
    )
    for kind in (BackupKind.SCHEMA, BackupKind.FULL):
        for backup in candidates.of_kind(kind)[:5]:
            vault = Vault.of(backup.storage)
            with suppress(BackupError):
                found = read_manifest(backup.name, vault)
                if found.proof and Proof.from_json(found.proof).fingerprint == proof.fingerprint:
                    return found, vault
    raise CannotProveError(
        f"It holds rows without all definitions, and no schema-only or full backup of the same "
        f"schema is here to restore them into. Take one (`manage.py backup --schema-only`), and "
        f"prove {manifest.name} again."
    )


# --- restoring ---------------------------------------------------------------------------------


def _restore(
    server: Scratch,
    target: Target,
    seen: Inspection,
    vault: Vault,
    schema: tuple[Manifest, Vault] | None,
    progress: Progress,
) -> Endpoint:
    """Bring a dump back as a restore would; return the login that did."""
    manifest = seen.manifest
    with _fetched(server, manifest, vault, progress) as dump, ExitStack() as stack:
        other = None
        if schema is not None:
            try:
                other = stack.enter_context(_fetched(server, *schema, progress))
            except (DamagedError, KeyMissingError, MissingObjectError) as error:
                raise CannotProveError(
                    f"It could not be proven: the schema it needs could not be restored from "
                    f"{schema[0].name}. {error}"
                ) from None
        try:
            return restore_dump(dump, other, target, progress, jobs=JOBS).login
        except LoadError as error:
            raise _told(manifest, schema[0] if schema else None, error) from None
        except TooNewError as error:
            raise CannotProveError(f"{manifest.name} could not be proven here: {error}") from None


@contextmanager
def _fetched(
    server: Scratch, manifest: Manifest, vault: Vault, progress: Progress
) -> Iterator[Dump]:
    """Lend a dump in a file that nobody else reads."""
    stored = manifest.archive
    progress.phase("fetching and decrypting", stored.size, "bytes")
    folder = Path(tempfile.mkdtemp(prefix="dump-", dir=server.folder))
    try:
        with (folder / "dump").open("xb", buffering=1 << 20) as file:
            receive_from(vault, stored, file, progress)
        yield Dump(manifest, folder / "dump")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(manifest: Manifest, schema: Manifest | None, error: LoadError) -> BackupError:
    if error.is_of_this_machine:
        return CannotProveError(f"{manifest.name} could not be proven here: {error}.")
    if error.is_for_lack_of_rights:
        # The backup may be good: it is the owner's login that can't bring it back.
        return CannotProveError(
            f"{manifest.name} can't be restored by the owner's login: {error}. Its manifest does "
            "not say so: take a new backup, whose manifest names what needs an administrator."
        )
    if schema is not None:
        return DisprovenError(f"The rows of {manifest.name} don't fit their definitions: {error}.")
    return DisprovenError(f"{manifest.name} can't be restored: {error}.")


# --- comparing ---------------------------------------------------------------------------------


def set_up_differs(place: RestoredDump) -> list[str]:
    """Return what differs of the database itself, set up as the manifest tells first.

    A restore beside the live database gives it the live one's owner, grants and settings.
    """
    server, database, manifest = place.server, place.database, place.manifest
    with server.connect() as connection:
        refused = set_properties(connection, database, manifest.database)
    with server.connect(database) as connection:
        properties = database_properties(connection)
    differences = []
    for key, value in manifest.database.items():
        if key in LOCALE or key == "name" or properties.get(key) == value:
            continue
        why = f" ({'; '.join(refused[:3])})" if refused else ""
        differences.append(
            f"The database's {key.replace('_', ' ')} is {properties.get(key)} instead of "
            f"{value}{why}."
        )
    return differences


def counted(progress: Progress) -> Callable[[TableProof], None]:
    """Return what counts tables, and stops between two of them."""

    def on_table(proof: TableProof) -> None:
        progress.check()
        progress.advance(1)

    return on_table


def asked_to_stop(progress: Progress) -> Callable[[], bool]:
    """Return what tells whether somebody asked to stop."""

    def asked() -> bool:
        try:
            progress.check()
        except CancelledError:
            return True
        return False

    return asked
