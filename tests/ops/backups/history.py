"""Backups that are cheap to have many of: real objects with real manifests, of few bytes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile

from ops.backups import keys
from ops.backups.catalogue import record_backup
from ops.backups.dbbackup import METADATA, metadata_name
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.naming import new_name
from ops.backups.vault import Vault
from ops.backups.wal.names import lsn
from ops.models import Backup

_WHERE = {
    "full": "{}.dump.zst",
    "base": "physical/{}.tar.zst",
    "incremental": "physical/{}.tar.zst",
    "media": "{}.tar.zst",
}


def manifest_of(
    *,
    kind: str = "full",
    age: timedelta = timedelta(0),
    parent: str | None = None,
    environment: str = "development",
    content: bytes = b"PGDMP and so on",
) -> Manifest:
    """Return the manifest of a backup that this content would be."""
    taken_at = datetime.now(UTC) - age
    name = str(new_name(environment=environment, taken_at=taken_at, kind=kind))
    physical = kind in {"base", "incremental"}
    position = lsn(int(taken_at.timestamp() * 1_000))
    return Manifest(
        name=name,
        kind=kind,
        environment=environment,
        taken_at=taken_at.isoformat(),
        finished_at=taken_at.isoformat(),
        seconds=1.0,
        objects=[
            StoredObject(
                role="archive",
                name=_WHERE.get(kind, "partial/{}.dump.zst").format(name),
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                raw_size=len(content),
                compression="none",
            )
        ],
        server={"version": "18.6", "major": 18, "system_identifier": "7"},
        database={"name": "srvc"},
        parent=parent,
        wal=({"timeline": 1, "start_lsn": position, "stop_lsn": position} if physical else {}),
    )


def store(manifest: Manifest, vault: Vault, content: bytes = b"PGDMP and so on") -> None:
    """Store a backup's objects, its manifest last."""
    for stored in manifest.objects:
        vault.save(stored.name, ContentFile(content, name=stored.name))
    if manifest.kind == "full":
        vault.write(metadata_name(manifest.archive.name), METADATA)
    vault.write(manifest.object_name, manifest.signed(keys.signing_keys()[0]))


def backup_of(vault: Vault | None = None, *, state: str = "taken", **about: Any) -> Backup:
    """Return a backup that is in the storage and in the catalogue."""
    vault = vault or Vault.primary()
    manifest = manifest_of(**about)
    store(manifest, vault)
    backup = record_backup(manifest, vault.label)
    if state != "taken":
        backup.state = state
        backup.save(update_fields=["state"])
    return backup
