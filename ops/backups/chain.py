"""Which backup an incremental one may add to; and when there is none, why a base is taken.

The server knows what changed since an earlier backup from its WAL summaries, and that backup's own
manifest, which lies in the storage. Whatever is doubtful leads to a base: it is never wrong.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard
from django.conf import settings

from ops.backups import keys
from ops.backups.errors import BackupError, StorageError
from ops.backups.incoming import receive
from ops.backups.manifest import LONGEST, Manifest, StoredObject, manifest_name
from ops.backups.vault import Vault
from ops.backups.wal.names import lsn, position
from ops.models import Backup, BackupKind
from ops.models.backups import GOOD, PHYSICAL
from ops.postgres.endpoint import Connection

PG_MANIFEST = "backup_manifest"


class NoParentError(BackupError):
    """An incremental backup has nothing to add to; the message says why, as half a sentence."""


@dataclass(frozen=True)
class Parent:
    """The backup that the next one adds to, with PostgreSQL's manifest of it in a file."""

    manifest: Manifest
    file: Path
    links: int  # of the chain so far, the base included

    @property
    def name(self) -> str:
        """The backup's name."""
        return self.manifest.name


@dataclass(frozen=True)
class WalRange:
    """The WAL that a physical backup needs to be whole."""

    timeline: int
    start_lsn: str
    stop_lsn: str


@contextmanager
def parent_for(
    connection: Connection, system_identifier: str, timeline: int, vault: Vault
) -> Iterator[Parent]:
    """Lend the newest link of the newest chain in this storage.

    Raises NoParentError.
    """
    backup = (
        Backup.objects.good()
        .of_kind(*PHYSICAL)
        .of_environment(settings.ENVIRONMENT)
        .filter(storage=vault.label)
        .newest_first()
        .first()
    )
    if backup is None:
        raise NoParentError("there is no base backup in this storage yet")
    manifest = _manifest(backup, vault)
    if manifest.server.get("system_identifier") != system_identifier:
        raise NoParentError(f"{backup} is of another server (another system identifier)")
    if manifest.wal.get("timeline") != timeline:
        raise NoParentError(
            f"the server is on timeline {timeline} since it was restored or promoted; {backup} is "
            f"of timeline {manifest.wal.get('timeline')}"
        )
    links = _chain(backup, vault)
    _require_short(links, backup)
    _require_summaries(connection, manifest)
    with tempfile.TemporaryDirectory(prefix="srvc-incremental-") as folder:  # 0700
        file = Path(folder) / PG_MANIFEST
        _fetch(_pg_manifest(manifest), vault, file)
        yield Parent(manifest, file, len(links))


def wal_range(pg_manifest: bytes) -> WalRange:
    """Return the WAL that PostgreSQL's own manifest names. Raises BackupError."""
    try:
        document: dict[str, Any] = json.loads(pg_manifest)
        ranges = document["WAL-Ranges"]
        newest = max(ranges, key=lambda each: int(each["Timeline"]))
        return WalRange(int(newest["Timeline"]), ranges[0]["Start-LSN"], newest["End-LSN"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise BackupError(
            "pg_basebackup's manifest is cut off or of an unknown kind. Nothing that looks like a "
            "backup was left. Check the versions of pg_basebackup and the server."
        ) from None


def _manifest(backup: Backup, vault: Vault) -> Manifest:
    try:
        content = vault.read(manifest_name(backup.name), LONGEST)
        return Manifest.read(content, keys.signing_keys(), name=backup.name)
    except BackupError as error:
        raise NoParentError(f"{backup} can't be added to: {error}") from None


def _chain(backup: Backup, vault: Vault) -> list[Backup]:
    """Return the chain, newest link first; every link must be good and be there."""
    links: list[Backup] = []
    link: Backup | None = backup
    while link is not None:
        if link.state not in GOOD:
            raise NoParentError(f"{link}, which {backup} stands on, is {link.state}")
        try:
            stored = Manifest.of_row(link.manifest).archive
            size = vault.size(stored.name)
        except StorageError as error:
            raise NoParentError(f"{link} is not whole: {error}") from None
        if size != stored.size:
            raise NoParentError(f"{link} has {size:,} bytes instead of {stored.size:,}")
        links.append(link)
        link = link.parent
    if links[-1].kind != BackupKind.BASE:
        raise NoParentError(f"{backup} has lost the base it stands on")
    return links


def _require_short(links: list[Backup], backup: Backup) -> None:
    if len(links) >= settings.BACKUP_CHAIN_LINKS:
        raise NoParentError(
            f"the chain of {backup} has {len(links)} links, as many as BACKUP_CHAIN_LINKS allows"
        )
    days = timedelta(days=settings.BACKUP_CHAIN_DAYS)
    if datetime.now(UTC) - links[-1].taken_at >= days:
        raise NoParentError(
            f"the base {links[-1]} is older than BACKUP_CHAIN_DAYS={settings.BACKUP_CHAIN_DAYS}"
        )


def _pg_manifest(manifest: Manifest) -> StoredObject:
    for stored in manifest.objects:
        if stored.role == PG_MANIFEST:
            return stored
    raise NoParentError(f"{manifest.name} has no {PG_MANIFEST} beside it")


def _fetch(stored: StoredObject, vault: Vault, file: Path) -> None:
    try:
        with vault.open(stored.name) as source, file.open("wb") as sink:
            receive(source, stored, sink)
    except (BackupError, zstandard.ZstdError) as error:
        raise NoParentError(str(error)) from None


def _require_summaries(connection: Connection, manifest: Manifest) -> None:
    """Refuse a gap in what the server wrote down about its WAL since the parent.

    What the summarizer has yet to do up to the new backup's beginning is waited for by the server,
    which gives up after a minute without progress.
    """
    if _scalar(connection, "SELECT current_setting('summarize_wal')") != "on":
        raise NoParentError(
            "summarize_wal is off, so the server does not note what changes (as a superuser: ALTER "
            "SYSTEM SET summarize_wal = on, then SELECT pg_reload_conf())"
        )
    start = position(manifest.wal["start_lsn"])
    if not _summarized_without_gap(connection, manifest.wal["timeline"], start):
        raise NoParentError(
            f"the server's WAL summaries since {manifest.name} have a gap (summarize_wal was off "
            "for a while, or they were removed: wal_summary_keep_time)"
        )


def _summarized_without_gap(connection: Connection, timeline: int, start: int) -> bool:
    rows = connection.execute(
        "SELECT start_lsn::text, end_lsn::text FROM pg_available_wal_summaries()"
        " WHERE tli = %s AND end_lsn > %s::pg_lsn ORDER BY start_lsn, end_lsn",
        [timeline, lsn(start)],
    ).fetchall()
    reached = start
    for first, last in rows:
        if position(first) > reached:
            return False
        reached = max(reached, position(last))
    # None at all is a gap too, once the summarizer has passed.
    passed = _scalar(connection, "SELECT summarized_lsn::text FROM pg_get_wal_summarizer_state()")
    return position(passed) <= reached


def _scalar(connection: Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])
