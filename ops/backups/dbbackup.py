"""django-dbbackup on the same storage: its commands read our objects, and we read theirs.

What its commands make gets a manifest like every other backup, written last: for a database with
the proof of the very snapshot that was dumped. ops/dbbackup_edge.py is where they call us.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File

from ops.backups.dbbackup_hooks import CONNECTOR
from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest, StoredObject, manifest_name
from ops.backups.naming import new_name, parse_name
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind, RunKind
from ops.progress import Counter
from ops.runs import Asker, record

# Written beside each full backup: dbrestore then hands the object to our connector.
METADATA = json.dumps({"engine": "django.db.backends.postgresql", "connector": CONNECTOR}).encode()
_CHUNK = 1 << 20


def metadata_name(object_name: str) -> str:
    """Return where django-dbbackup looks for what it should know about an object."""
    return f"{object_name}.metadata"


def backup_of(filename: str) -> str | None:
    """Return the name of the backup whose object this is; None for a file that is none of ours."""
    name = filename.partition(".")[0]
    if parse_name(name) and "/" not in name and Vault.primary().exists(manifest_name(name)):
        return name
    # An operator may have given the object a name of his own.
    rows = Backup.objects.filter(manifest__objects__contains=[{"name": filename}])
    return rows.values_list("name", flat=True).first()


def dump(spool: IO[bytes]) -> Manifest:
    """Write a full dump into a file, and return the manifest of it as it is there.

    Neither compressed nor encrypted by us: django-dbbackup does that. Raises OpsError.
    """
    from ops.backups import keys
    from ops.backups.logical import LogicalRequest, take_logical

    keys.signing_keys()  # without one the dump would be for nothing
    return take_logical(LogicalRequest(compress=False), _Spool(spool), Counter())


def adopt_dump(stored_as: str, manifest: Manifest) -> Backup | None:
    """Make a backup of what `dbbackup` stored; None when it went elsewhere than the storage.

    Raises OpsError: what it stored is removed then, for nothing proves what is in it.
    """
    vault = Vault.primary()
    if not vault.exists(stored_as):
        return None
    encrypted, compressed = stored_as.endswith(".gpg"), ".gz" in stored_as
    return _adopt(
        stored_as,
        replace(manifest, name=_name_in(stored_as) or manifest.name),
        vault,
        raw_size=manifest.archive.raw_size,
        compression="gzip" if compressed else "none",
        encrypted=encrypted,
    )


def adopt_media(stored_as: str) -> Backup | None:
    """Make a backup of what `mediabackup` stored; None when it went elsewhere than the storage.

    Raises OpsError: what it stored is removed then.
    """
    from ops.backups.media import contents_of

    vault = Vault.primary()
    if not vault.exists(stored_as):
        return None
    encrypted, compressed = stored_as.endswith(".gpg"), ".gz" in stored_as
    now = datetime.now(UTC)
    name = new_name(environment=settings.ENVIRONMENT, taken_at=now, kind=BackupKind.MEDIA)
    manifest = Manifest(
        name=_name_in(stored_as) or str(name),
        kind=BackupKind.MEDIA,
        environment=settings.ENVIRONMENT,
        taken_at=now.isoformat(),
        finished_at=now.isoformat(),
        seconds=0.0,
        objects=[],
        server={},
        database={},
        programs={"mediabackup": "django-dbbackup"},
    )
    raw_size = 0
    if not encrypted:
        with vault.open(stored_as) as file:
            contents = contents_of(file, compression="gzip" if compressed else "none")
        manifest, raw_size = replace(manifest, details=contents.as_json()), contents.raw_size
    return _adopt(
        stored_as,
        manifest,
        vault,
        raw_size=raw_size,
        compression="gzip" if compressed else "none",
        encrypted=encrypted,
    )


def _adopt(
    stored_as: str,
    manifest: Manifest,
    vault: Vault,
    *,
    raw_size: int,
    compression: str,
    encrypted: bool,
) -> Backup:
    from ops.backups.catalogue import record_backup
    from ops.backups.copies import copy_missing
    from ops.backups.keys import signing_keys

    try:
        if settings.PRODUCTION_LIKE and not encrypted:
            raise BackupError(
                f"Backups of {settings.ENVIRONMENT} are always encrypted; what was stored was "
                "removed again. Use --encrypt, or manage.py backup."
            )
        stored = _as_stored(stored_as, vault, raw_size, compression, encrypted=encrypted)
        manifest = replace(manifest, objects=[stored], finished_at=datetime.now(UTC).isoformat())
        vault.write(manifest.object_name, manifest.signed(signing_keys()[0]))
    except BaseException:
        for name in (stored_as, metadata_name(stored_as)):
            vault.delete(name)
        raise
    backup = record_backup(manifest, vault.label)
    asker = Asker.of_command()
    record(
        RunKind.BACKUP, backup.name, by=asker, message="Taken by django-dbbackup.", backup=backup
    )
    copy_missing(by=asker, first=backup)
    return backup


def _as_stored(
    name: str, vault: Vault, raw_size: int, compression: str, *, encrypted: bool
) -> StoredObject:
    """Return what the storage has of an object, by reading it back to its last byte."""
    found, size = hashlib.sha256(), 0
    with vault.open(name) as file:
        while data := file.read(_CHUNK):
            found.update(data)
            size += len(data)
    return StoredObject(
        role="archive",
        name=name,
        size=size,
        sha256=found.hexdigest(),
        raw_size=raw_size,
        compression=compression,
        encryption="gpg" if encrypted else "none",
        recipients=list(settings.DBBACKUP_GPG_RECIPIENT or []) if encrypted else [],
    )


def _name_in(stored_as: str) -> str:
    """Return the backup's name in an object's, or "" when the operator chose another."""
    name = stored_as.partition(".")[0]
    return name if parse_name(name) else ""


class _Spool(Vault):
    """A file that stands in for a storage: django-dbbackup stores it by itself afterwards."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.label = tempfile.gettempdir()

    def save(self, name: str, content: File[bytes]) -> None:
        with self._told(name):
            for piece in content.chunks():
                self._file.write(piece)

    def require_size(self, stored: StoredObject) -> None:
        self._file.seek(0, 2)
        if self._file.tell() != stored.size:
            raise BackupError(f"{self.label} did not take all of the dump. Nothing was stored.")

    def _path(self, name: str) -> Any:
        return None
