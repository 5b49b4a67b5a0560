"""Whether a backup in a storage is whole, unchanged and readable to its last byte.

Nothing here knows the catalogue: a storage and a name are enough, on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from django.core.files.storage import FileSystemStorage

from ops.backups import keys
from ops.backups.comparison import compare
from ops.backups.dumpreading import DumpFound, DumpReading, made_by, restore_program
from ops.backups.dumpscan import DumpContents, as_announced
from ops.backups.errors import DamagedError, KeyMissingError, StorageError
from ops.backups.fingerprint import Fingerprint
from ops.backups.manifest import LONGEST, Manifest, StoredObject, manifest_name
from ops.backups.media_restore.reading import read_media
from ops.backups.naming import parse_name
from ops.backups.proof import Proof, SequenceProof, TableProof
from ops.backups.receiving import pass_by, receive_from
from ops.backups.selection import LARGE_OBJECTS
from ops.backups.vault import Vault
from ops.models import BackupKind
from ops.models.backups import LOGICAL, PHYSICAL
from ops.progress import Progress

_SHOWN = 3  # differences told in a sentence


@dataclass(frozen=True)
class Inspection:
    """What was found: a damaged backup has none, it raises."""

    manifest: Manifest
    sequences: frozenset[tuple[str, str]] = frozenset()  # whose position the dump holds
    unread: str = ""  # why nobody looked inside, a sentence; empty: it was read to its last byte


def read_manifest(name: str, vault: Vault) -> Manifest:
    """Return the manifest that lies beside a backup, its signature checked.

    Raises MissingObjectError, DamagedError, and StorageError when the storage is out of reach.
    """
    _require_reachable(vault)
    content = vault.read(manifest_name(name), LONGEST)
    manifest = Manifest.read(content, keys.signing_keys(), name=name)
    parts = parse_name(name)
    if parts is not None and parts.kind != manifest.kind:
        raise DamagedError(
            f"{name} is called a {parts.kind} backup, and its manifest says that it is a "
            f"{manifest.kind} one. It can't be trusted."
        )
    return manifest


def inspect(name: str, vault: Vault, progress: Progress) -> Inspection:
    """Look at every byte of a backup, and of those it adds to.

    Raises DamagedError, which says what is wrong; MissingObjectError; and StorageError or ToolError
    when it could not be looked at, so that nothing is known.
    """
    progress.phase("reading the manifest")
    manifest = read_manifest(name, vault)
    if not manifest.objects:
        raise DamagedError(f"The manifest of {name} names no object. There is nothing to restore.")
    for stored in manifest.objects:
        require_told_size(vault, stored)
    if manifest.kind in PHYSICAL:
        return Inspection(manifest, unread=_physical(manifest, vault, progress))
    progress.phase("reading", sum(each.size for each in manifest.objects), "bytes")
    try:
        if manifest.kind in LOGICAL:
            return _logical(manifest, vault, progress)
        read_media(manifest, vault, progress)
    except KeyMissingError as error:
        for stored in manifest.objects:
            pass_by(stored, vault, progress)
        return Inspection(manifest, unread=str(error))
    return Inspection(manifest)


def _require_reachable(vault: Vault) -> None:
    """Refuse a folder that is away, such as a disk that is not mounted: its objects aren't lost."""
    location = getattr(vault.storage, "location", None)
    if isinstance(vault.storage, FileSystemStorage) and not Path(str(location)).is_dir():
        raise StorageError(
            f"The folder {location} of the storage {vault.label} is not there, so nothing is known "
            "about what was in it. If it is on a disk of its own, mount that; if it moved, correct "
            "the settings."
        )


def _physical(manifest: Manifest, vault: Vault, progress: Progress) -> str:
    from ops.backups.unpacking import chain_of, unpacked

    try:
        with unpacked(manifest, vault, progress):
            return ""
    except KeyMissingError as error:
        links = chain_of(manifest, vault)
        objects = [stored for link in links for stored in link.objects]
        progress.phase("reading", sum(each.size for each in objects), "bytes")
        for stored in objects:
            pass_by(stored, vault, progress)
        return str(error)


def require_told_size(vault: Vault, stored: StoredObject) -> None:
    """Raise DamagedError when the storage tells another size than the manifest does."""
    told = vault.size(stored.name)
    if told < stored.size:
        raise DamagedError(
            f"{stored.name} is cut off: the storage {vault.label} has {told:,} of {stored.size:,} "
            "bytes."
        )
    if told > stored.size:
        raise DamagedError(
            f"{stored.name} has {told:,} bytes in the storage {vault.label} instead of "
            f"{stored.size:,}: it is another object, or something was added to it."
        )


# --- dumps -------------------------------------------------------------------------------------


def _logical(manifest: Manifest, vault: Vault, progress: Progress) -> Inspection:
    if manifest.proof is None:
        raise DamagedError(f"The manifest of {manifest.name} proves nothing about what is in it.")
    stored = manifest.archive
    with DumpReading(restore_program(made_by(manifest))) as reading:
        receive_from(vault, stored, reading, progress)
        progress.phase("waiting for pg_restore")
        try:
            found = reading.finish()
        except DamagedError as error:
            raise DamagedError(f"{stored.name} is as it was stored, but {error}") from None
    _require_as_proven(manifest, Proof.from_json(manifest.proof), found)
    return Inspection(manifest, frozenset(found.contents.sequences))


def _require_as_proven(manifest: Manifest, proof: Proof, found: DumpFound) -> None:
    wrong = [*_wrong_contents(manifest.kind, proof, found.contents)]
    if manifest.kind != BackupKind.DATA:
        wrong += _wrong_definitions(manifest.kind, proof, found)
    database = manifest.database.get("name")
    if database and found.database and found.database != " ".join(str(database).splitlines()):
        wrong.append(f"It is of the database {found.database}, not of {database}.")
    if wrong:
        more = f" And {len(wrong) - _SHOWN:,} more." if len(wrong) > _SHOWN else ""
        raise DamagedError(
            f"{manifest.archive.name} does not hold what its manifest proves. "
            f"{' '.join(wrong[:_SHOWN])}{more}"
        )


def _wrong_contents(kind: str, proof: Proof, contents: DumpContents) -> Iterator[str]:
    tables = [replace(each, content="") for each in proof.tables]
    if kind in {BackupKind.FULL, BackupKind.DATA} and not tables and tables_of(proof.fingerprint):
        yield f"A {kind} backup has to hold rows, and this one proves those of no table."
    sequences = proof.sequences
    if kind == BackupKind.TABLES:  # it brings the sequences that belong to its tables
        sequences = [each for each in sequences if (each.schema, each.name) in contents.sequences]
    known = {(each.schema, each.name) for each in tables}
    announced = {as_announced(name): name for name in known}
    rows = {
        name if name in known else announced.get(name, name): count
        for name, count in contents.rows.items()
    }
    if any(_is_large_objects(each) for each in tables):
        rows.setdefault((LARGE_OBJECTS.schema, LARGE_OBJECTS.name), 0)
    found = Proof(
        [TableProof(*name, count, "") for name, count in rows.items()],
        [SequenceProof(*name, *stand) for name, stand in contents.sequences.items()],
        proof.fingerprint,
    )
    # pg_dump reads sequences some moments after they were proven.
    differences = compare(
        Proof(tables, sequences, proof.fingerprint),
        found,
        sequences=kind != BackupKind.SCHEMA,
        sequences_move=True,
    )
    yield from map(str, differences)


def _is_large_objects(table: TableProof) -> bool:
    return (table.schema, table.name) == (LARGE_OBJECTS.schema, LARGE_OBJECTS.name)


def _wrong_definitions(kind: str, proof: Proof, found: DumpFound) -> Iterator[str]:
    if kind == BackupKind.TABLES:
        wanted = [(each.schema, each.name) for each in proof.tables if not _is_large_objects(each)]
    else:
        wanted = tables_of(proof.fingerprint)
    for schema, name in wanted:
        if not found.defines(schema, name):
            yield f"The definition of the table {schema}.{name} is missing."


def tables_of(fingerprint: Fingerprint) -> list[tuple[str, str]]:
    """Return schema and name of the tables that a fingerprint speaks of."""
    return [
        table_name(key.removeprefix("table ")) for key in fingerprint.objects if key[:6] == "table "
    ]


def table_name(qualified: str) -> tuple[str, str]:
    """Return schema and name of what format('%I.%I') wrote; a bare name is one of public."""
    parts, quoted = [""], False
    for letter in qualified:
        if letter == '"':
            quoted = not quoted
        if letter == "." and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    if len(parts) == 1:
        parts.insert(0, "public")
    schema, name = (
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts
    )
    return schema, name
