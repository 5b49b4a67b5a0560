"""The catalogue: rows about what the storage holds. The storage is what counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest
from ops.models import Backup


def record_backup(manifest: Manifest, storage: str) -> Backup:
    """Make or renew the row of a backup from its manifest; what checks found stays."""
    backup, _ = Backup.objects.update_or_create(
        name=manifest.name, defaults=_values(manifest, storage)
    )
    return backup


def find_backup(text: str) -> Backup:
    """Return the backup that an operator means: by its name, a part of it, or the row's number.

    Raises BackupError when there is none, and when several are meant.
    """
    exact = Backup.objects.filter(name=text).first()
    if exact is None and text.isascii() and text.isdecimal():
        exact = Backup.objects.filter(pk=int(text)).first() if len(text) < 19 else None
    if exact is not None:
        return exact
    meant = list(Backup.objects.filter(name__contains=text).newest_first()[:6]) if text else []
    if not meant:
        raise BackupError(
            f"There is no backup {text!r} in the catalogue. Nothing was done. `manage.py backups` "
            "lists them; `--rebuild` reads the storage again."
        )
    if len(meant) > 1:
        listed = ", ".join(each.name for each in meant[:5]) + (" …" if len(meant) > 5 else "")
        raise BackupError(f"{text!r} may be {listed}. Nothing was done. Name one of them.")
    return meant[0]


def _values(manifest: Manifest, storage: str) -> dict[str, Any]:
    tables = (manifest.proof or {}).get("tables")
    parent = None
    if manifest.parent:
        parent = Backup.objects.filter(name=manifest.parent).first()
    return {
        "kind": manifest.kind,
        "environment": manifest.environment,
        "database": str(manifest.database.get("name", ""))[:200],
        "storage": storage,
        "server_version": str(manifest.server.get("version", ""))[:40],
        "taken_at": datetime.fromisoformat(manifest.taken_at),
        "finished_at": datetime.fromisoformat(manifest.finished_at),
        "seconds": manifest.seconds,
        "size": sum(entry.size for entry in manifest.objects),
        "raw_size": sum(entry.raw_size for entry in manifest.objects),
        "tables": None if tables is None else len(tables),
        "rows": rows_of(manifest),
        "encryption": manifest.archive.encryption,
        "parent": parent,
        "timeline": manifest.wal.get("timeline"),
        "start_lsn": manifest.wal.get("start_lsn", ""),
        "stop_lsn": manifest.wal.get("stop_lsn", ""),
        "manifest": manifest.as_json(),
    }


def rows_of(manifest: Manifest) -> int | None:
    """Return how many rows a backup proves; None when it proves none (physical ones)."""
    from ops.backups.proof import Proof

    if manifest.proof is None:
        return None
    return sum(table.rows for table in Proof.from_json(manifest.proof).tables)
