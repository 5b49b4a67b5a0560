"""Copies of the server's files: a base backup, and incremental ones that hold what changed since.

pg_basebackup writes one tar to a pipe; it is compressed, encrypted and stored as it passes.
PostgreSQL's own manifest, which is inside as well, is also stored beside it in clear: it names
files and checksums, and the next incremental backup needs it where nothing can be decrypted.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import zstandard
from django.conf import settings

from ops.backups import keys
from ops.backups.chain import PG_MANIFEST, NoParentError, Parent, WalRange, parent_for, wal_range
from ops.backups.errors import BackupError, UnsupportedError
from ops.backups.fingerprint import fingerprint
from ops.backups.logical import describe
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.naming import BackupName, new_name
from ops.backups.outgoing import ZSTD_LEVEL, Upload
from ops.backups.tarstream import TarScanner, Tee
from ops.backups.vault import Vault
from ops.backups.wal.slot import kept_wal
from ops.backups.watch import watched
from ops.models import Backup, BackupKind
from ops.postgres import pooler
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import PoolerError, ServerError, ToolError
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress
from ops.runs import OWNER

OLDEST_MAJOR = 17
FOLDER = "physical"
FINISH = 600.0  # seconds pg_basebackup may take to end after its output has
_INSTEAD = (
    "Nothing was taken. What is possible there: full backups (`manage.py backup --full`) as often "
    "as you can bear to lose what came after, and the provider's own point-in-time recovery."
)
# In the middle of a file pg_basebackup says only this, and keeps the server's reason to itself.
_BROKEN_OFF = "COPY stream ended before last file was finished"
# What a server says when it can't tell what changed since the parent.
_REFUSED = re.compile(r"summar|manifest|timeline", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """Where a physical backup comes from."""

    replication: Endpoint
    owner: Endpoint
    system_identifier: str
    timeline: int


@dataclass(frozen=True)
class _Taken:
    """What one run of pg_basebackup brought."""

    objects: list[StoredObject]
    files: int
    wal: WalRange


def take_physical(
    kind: str,
    label: str,
    encryption: keys.Encryption,
    vault: Vault,
    progress: Progress,
    *,
    witness: int | None = None,
) -> Manifest:
    """Copy the server's files into the storage; return the manifest, which is not yet written.

    Asked for an incremental backup that has nothing to add to, it takes a base and says why.
    `witness` is the key of a row that is in the database already, so that a restored copy can be
    asked for it. Raises OpsError; what had been stored is removed then.
    """
    began = time.monotonic()
    progress.phase("looking at the server")
    server = replicating_server()
    with server.owner.connect() as connection:
        _require_no_tablespaces(connection)
        about = describe(connection)
        before = fingerprint(connection).as_json()
        sizes = _database_sizes(connection)
        taken_at = _now(connection)
        why_base, added_to, links = "", None, 1
        if kind == BackupKind.INCREMENTAL:
            try:
                with parent_for(
                    connection, server.system_identifier, server.timeline, vault
                ) as parent:
                    name = _name(taken_at, kind, label)
                    taken = _copy(server, name, encryption, vault, progress, sizes, parent)
                    added_to, links = parent.name, parent.links + 1
            except NoParentError as error:
                why_base = str(error)
                progress.say(f"A base backup is taken instead of an incremental one: {why_base}.")
        if kind == BackupKind.BASE or why_base:
            name = _name(taken_at, BackupKind.BASE, label)
            taken = _copy(server, name, encryption, vault, progress, sizes, None)
    details: dict[str, Any] = {"databases": sizes, "files": taken.files, "links": links}
    try:
        with server.owner.connect() as connection:
            details["whole_at"] = _now(connection).isoformat()
            if fingerprint(connection).as_json() == before:
                details["fingerprint"] = before
    except BaseException:
        _discard(taken.objects, vault)
        raise
    if why_base:
        details["why_base"] = why_base
    if witness is not None:
        details["witness"] = witness
    about["server"] |= {"system_identifier": server.system_identifier}
    return Manifest(
        name=str(name),
        kind=name.kind,
        environment=settings.ENVIRONMENT,
        taken_at=taken_at.isoformat(),
        finished_at=datetime.now(UTC).isoformat(),
        seconds=round(time.monotonic() - began, 3),
        objects=taken.objects,
        parent=added_to,
        wal={
            "timeline": taken.wal.timeline,
            "start_lsn": taken.wal.start_lsn,
            "stop_lsn": taken.wal.stop_lsn,
        },
        details=details,
        programs={"pg_basebackup": str(about["server"]["major"])},
        **about,
    )


def replicating_server() -> Server:
    """Return the server that base backups and WAL come from.

    Raises UnsupportedError, which says what is possible instead, for one that can't give them.
    """
    owner = Endpoint.of(OWNER)
    if owner.major < OLDEST_MAJOR:
        raise UnsupportedError(
            f"Base and incremental backups and WAL need PostgreSQL {OLDEST_MAJOR} or newer; this "
            f"server is {owner.major}. {_INSTEAD}"
        )
    replication = Endpoint.replication()
    if replication is None:
        raise UnsupportedError(
            "Base and incremental backups and WAL need a login with REPLICATION, and "
            f"DATABASE_REPLICATION_URL names none. {_INSTEAD} On a server of your own, set it and "
            "run `manage.py provision`."
        )
    try:
        with replication.connect() as connection:
            row = connection.execute("IDENTIFY_SYSTEM").fetchone()
            with owner.connect() as witness:
                is_pooled = pooler.is_pooled_replication(connection, witness)
    except psycopg.errors.SyntaxError:
        # Something in between has left out that it is for replication.
        raise pooler.refusal(replication.user, replication.place) from None
    except PoolerError:
        raise
    except ServerError as error:
        raise UnsupportedError(
            f"The server does not let {replication.user} replicate: {error} {_INSTEAD}"
        ) from None
    assert row is not None
    identifier, timeline = (text(each) for each in row[:2])
    with owner.connect() as connection:
        known = describe(connection)["server"]["system_identifier"]
    if known and known != identifier:
        raise BackupError(
            f"DATABASE_REPLICATION_URL is of another server ({identifier}) than DATABASE_OWNER_URL "
            f"({known}). Nothing was taken. Correct one of them."
        )
    if is_pooled:
        raise pooler.refusal(replication.user, replication.place)
    return Server(replication, owner, identifier, int(timeline))


def text(value: object) -> str:
    """Return a value of a replication connection, which knows no encoding, as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def archive_name(name: BackupName, encryption: keys.Encryption) -> str:
    """Return where the tar lies."""
    suffix = {"age": ".age", "gpg": ".gpg"}.get(encryption.kind, "")
    return f"{FOLDER}/{name}.tar.zst{suffix}"


def _copy(
    server: Server,
    name: BackupName,
    encryption: keys.Encryption,
    vault: Vault,
    progress: Progress,
    sizes: dict[str, int],
    parent: Parent | None,
) -> _Taken:
    """Store one backup's two objects. Raises NoParentError when the server refuses the parent."""
    progress.phase("copying the server's files", _expected_bytes(sizes, parent), "bytes")
    where, scanner = archive_name(name, encryption), TarScanner({PG_MANIFEST})
    with (
        # Its WAL comes last, and by then a checkpoint would have removed what came first.
        kept_wal(server.replication, f"srvc_backup_{name.token}") as is_kept,
        StreamingProcess(
            server.replication.program("pg_basebackup"),
            *server.replication.arguments(),
            "--no-password",
            "--pgdata=-",
            "--format=tar",
            "--wal-method=fetch",
            "--checkpoint=fast",
            f"--label={name}",
            *([f"--incremental={parent.file}"] if parent else []),
            environment=server.replication.environment(),
        ) as process,
        # It is silent for as long as a checkpoint or the summaries take.
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        if not is_kept:
            progress.say(
                "The server has no free replication slot to keep WAL for this backup: a checkpoint "
                "meanwhile may end it. Raise max_replication_slots."
            )

        def finish_source() -> None:
            process.finish(FINISH)
            if not scanner.is_complete or PG_MANIFEST not in scanner.kept:
                raise BackupError(
                    "pg_basebackup ended without writing its manifest. Nothing that looks like a "
                    "backup was left. Run this again."
                )

        upload = Upload(
            Tee(process.stdout, scanner),  # type: ignore[arg-type]
            encryption=encryption,
            on_raw=progress.advance,
            finish_source=finish_source,
        )
        try:
            vault.save(where, upload)
        except ToolError as error:
            progress.check()
            raise _told(error, parent) from None
        finally:
            process.kill()  # so that the stream's thread, which may wait for it, ends
            upload.close()
    archive = upload.stored("archive", where)
    vault.require_size(archive)
    try:
        content = scanner.kept[PG_MANIFEST]
        found = wal_range(content)
        beside = _store_pg_manifest(content, name, vault)
    except BaseException:
        vault.delete(where)
        raise
    return _Taken([archive, beside], scanner.members, found)


def _store_pg_manifest(content: bytes, name: BackupName, vault: Vault) -> StoredObject:
    packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(content)
    stored = StoredObject(
        role=PG_MANIFEST,
        name=f"{FOLDER}/{name}.{PG_MANIFEST}.zst",
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        raw_size=len(content),
    )
    vault.write(stored.name, packed)
    vault.require_size(stored)
    return stored


def _discard(objects: list[StoredObject], vault: Vault) -> None:
    for stored in objects:
        with suppress(BackupError):
            vault.delete(stored.name)


def _told(error: ToolError, parent: Parent | None) -> Exception:
    said = str(error).rstrip(".")
    if parent is not None and _REFUSED.search(said):
        return NoParentError(f"the server refuses to add to {parent.name} ({said})")
    if _BROKEN_OFF in said or "has already been removed" in said:
        return BackupError(
            "The server broke the copy off. Its log says why; mostly it has removed WAL that the "
            f"backup still needed: {said}. Nothing that looks like a backup was left. Raise "
            "max_slot_wal_keep_size and max_replication_slots, and run this again."
        )
    return ToolError(
        f"{said}. Nothing that looks like a backup was left. See that the server runs, and run "
        "this again."
    )


def _require_no_tablespaces(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')"
        " ORDER BY spcname"
    ).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows)
        raise UnsupportedError(
            f"The server has tablespaces of its own ({names}), which base backups can't carry. "
            "Nothing was taken. Take full backups (`manage.py backup --full`), or move what is in "
            "them to pg_default and drop them."
        )


def _database_sizes(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        "SELECT datname, pg_database_size(oid) FROM pg_database ORDER BY datname"
    ).fetchall()
    return {str(name): int(size) for name, size in rows}


def _expected_bytes(sizes: dict[str, int], parent: Parent | None) -> int | None:
    """Guess how much will come: what the databases take, or what the last such backup took."""
    if parent is None:
        return sum(sizes.values())
    own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
    last = own.of_kind(BackupKind.INCREMENTAL).newest_first().first()
    return last.raw_size if last else None


def _name(taken_at: datetime, kind: str, label: str) -> BackupName:
    return new_name(environment=settings.ENVIRONMENT, taken_at=taken_at, kind=kind, label=label)


def _now(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)
