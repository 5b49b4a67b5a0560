"""The proof of a backup: restored into a scratch server, every number of its manifest compared.

Rows without definitions (data only, some tables) are restored into the schema of the newest backup
that has their very fingerprint: a data-only backup is worth what such a backup beside it is worth,
and where there is none it can't be proven. The live database would be a poor stand-in, since it is
what a restore replaces.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from ops.backups.comparison import Difference, compare
from ops.backups.errors import BackupError, CannotProveError, DisprovenError
from ops.backups.fingerprint import (
    Fingerprint,
    database_properties,
    extensions,
    fingerprint,
    roles,
)
from ops.backups.inspection import Inspection, read_manifest
from ops.backups.manifest import Manifest
from ops.backups.pinned import Connection
from ops.backups.proof import Proof, TableProof
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.recreate import LOCALE, create_database, create_roles, set_properties
from ops.backups.restoring import fill
from ops.backups.scratch import FACTOR, Scratch, scratch
from ops.backups.selection import LARGE_OBJECTS, all_tables
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind
from ops.models.backups import LOGICAL
from ops.postgres.errors import ToolError, one_line
from ops.progress import CancelledError, Progress

SHOWN = 20  # differences listed


def prove(
    seen: Inspection, vault: Vault, progress: Progress, *, server: Scratch | None = None
) -> str:
    """Restore a dump that was found whole; return a sentence about what was compared.

    Raises DisprovenError, which lists what differs; CannotProveError; and BackupError when the disk
    is too small.
    """
    manifest = seen.manifest
    if manifest.kind == BackupKind.MEDIA and "digest" in manifest.details:
        # Unpacked anywhere they would be the same files: the light check has compared each.
        return (
            f"Every file in it was read, and is what it was: {manifest.details['files']:,} files."
        )
    if manifest.kind not in LOGICAL or manifest.proof is None:
        raise CannotProveError(
            f"A {manifest.kind} backup says nothing that a restore could be held against."
        )
    expected = Proof.from_json(manifest.proof)
    with restored(manifest, vault, progress, server=server) as place, said_plainly(manifest):
        found = replace(
            rows_found(place, expected, progress), fingerprint=definitions_found(place, expected)
        )
        differences = [str(each) for each in differences_of(seen, expected, found)]
        differences += set_up_differs(place)
    if differences:
        raise disproven(differences)
    return (
        f"Restored{''.join(f' {note}' for note in place.notes)} and equal: "
        f"{_told_size(manifest, found)}."
    )


def disproven(differences: Sequence[str]) -> DisprovenError:
    """Return the error that lists what a restore differs in, not all of it when that is a lot."""
    more = f" And {len(differences) - SHOWN:,} more." if len(differences) > SHOWN else ""
    return DisprovenError(
        f"Restored, it is not what its manifest says. {' '.join(differences[:SHOWN])}{more}"
    )


def _told_size(manifest: Manifest, found: Proof) -> str:
    rows = f"{len(found.tables):,} tables, {sum(each.rows for each in found.tables):,} rows"
    definitions = f"{len(found.fingerprint.objects):,} definitions"
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


@contextmanager
def restored(
    manifest: Manifest, vault: Vault, progress: Progress, *, server: Scratch | None = None
) -> Iterator[RestoredDump]:
    """Restore a dump into a scratch server: the given one, or one that is made for it.

    Raises DisprovenError, CannotProveError, what receive() raises, and BackupError when the disk
    is too small.
    """
    schema = None
    if manifest.kind in {BackupKind.DATA, BackupKind.TABLES} and manifest.proof is not None:
        schema = schema_of(manifest, Proof.from_json(manifest.proof))
    with ExitStack() as stack:
        server = server or stack.enter_context(scratch())
        raw = manifest.archive.raw_size + (schema[0].archive.raw_size if schema else 0)
        server.require_room(int(raw * FACTOR))
        with said_plainly(manifest):
            progress.phase("starting a scratch server")
            _require_extensions(server, manifest)
            database, notes = stack.enter_context(_database(server, manifest))
            fill(server, database, manifest, vault, schema, progress)
        if schema:
            notes.append(f"into the schema of {schema[0].name}")
        yield RestoredDump(server, database, manifest, notes)


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
    except psycopg.Error as error:
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


# --- comparing ---------------------------------------------------------------------------------


def rows_found(place: RestoredDump, expected: Proof, progress: Progress) -> Proof:
    """Return what the restored rows and sequences prove, and nothing of definitions."""
    kind = place.manifest.kind
    with place.server.connect(place.database) as connection:
        tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
        if kind == BackupKind.TABLES:
            wanted = {(each.schema, each.name) for each in expected.tables}
            tables = [each for each in tables if (each.schema, each.name) in wanted]
        if any(each.name == LARGE_OBJECTS.name for each in expected.tables):
            tables.append(LARGE_OBJECTS)
        progress.phase("comparing", len(tables), "tables")
        proofs = table_proofs(
            connection,
            tables,
            on_table=counted(progress),
            cancelled=asked_to_stop(progress),
        )
        if kind == BackupKind.SCHEMA:
            # A definition's table is there, and empty.
            proofs = [each for each in proofs if each.rows]
        return Proof(proofs, sequence_proofs(connection), Fingerprint({}))


def definitions_found(place: RestoredDump, expected: Proof) -> Fingerprint:
    """Return how the restored database is defined; single tables are no database, and as told."""
    if place.manifest.kind == BackupKind.TABLES:
        return expected.fingerprint
    with place.server.connect(place.database) as connection:
        return fingerprint(connection)


def differences_of(seen: Inspection, expected: Proof, found: Proof) -> list[Difference]:
    """Return what differs of what this kind of dump brings."""
    kind = seen.manifest.kind
    if kind == BackupKind.TABLES:
        here = [each for each in found.sequences if (each.schema, each.name) in seen.sequences]
        there = [each for each in expected.sequences if (each.schema, each.name) in seen.sequences]
        found, expected = replace(found, sequences=here), replace(expected, sequences=there)
    return compare(expected, found, sequences=kind != BackupKind.SCHEMA, sequences_move=True)


def set_up_differs(place: RestoredDump) -> list[str]:
    """Return what differs of what a dump does not bring: roles, migrations, the database itself.

    The database is set up as the manifest tells first.
    """
    server, database, manifest = place.server, place.database, place.manifest
    with server.connect() as connection:
        refused = set_properties(connection, database, manifest.database)
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    differences = [f"The role {name} is missing." for name in sorted(manifest.roles.keys() - known)]
    with server.connect(database) as connection:
        properties = database_properties(connection)
        brought = extensions(connection).keys()
        migrations = _migrations(connection)
        found_roles = roles(connection).keys()
    differences += [
        f"The extension {name} is missing." for name in sorted(manifest.extensions.keys() - brought)
    ]
    differences += [
        f"The role {name} is named in it and not in its manifest."
        for name in sorted(found_roles - manifest.roles.keys() - {"postgres"})
    ]
    for key, value in manifest.database.items():
        if key in LOCALE or key == "name" or properties.get(key) == value:
            continue
        why = f" ({'; '.join(refused[:3])})" if refused else ""
        differences.append(
            f"The database's {key.replace('_', ' ')} is {properties.get(key)} instead of "
            f"{value}{why}."
        )
    if manifest.kind == BackupKind.FULL and migrations != manifest.migrations:
        differences.append(
            f"It has {len(migrations):,} migrations applied instead of {len(manifest.migrations):,}"
            ", or others."
        )
    return differences


def _migrations(connection: Connection) -> list[str]:
    with suppress(psycopg.errors.UndefinedTable):
        rows = connection.execute(
            "SELECT app || '.' || name FROM public.django_migrations ORDER BY app, name"
        ).fetchall()
        return [name for (name,) in rows]
    return []


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
