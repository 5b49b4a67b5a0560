"""What belongs to no backup: objects whose manifest was never written, unfinished files, uploads
that nobody completed. A killed process leaves them; none looks like a backup, all take room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from ops.backups import manifest, pins
from ops.backups.naming import parse_name
from ops.backups.vault import OpenUpload, Vault
from ops.liveness import living
from ops.models import Backup, Run, RunKind

# What is younger may be of a backup that another machine is taking.
SAFE_AGE = timedelta(days=1)
_FOLDERS = ("", "partial", "physical")
_METADATA = ".metadata"


@dataclass(frozen=True)
class Leftover:
    """Something in a storage that belongs to no backup."""

    name: str
    what: str
    since: datetime
    upload: OpenUpload | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.what}, since {self.since:%Y-%m-%d %H:%M} UTC"


def leftovers(vault: Vault, now: datetime) -> list[Leftover]:
    """Return what is old enough to belong to nothing that is going on.

    Only what is named as ours, of this environment, and unknown to the catalogue. Nothing while a
    backup is being taken or copied. Raises StorageError.
    """
    if _something_is_written():
        return []
    found = [*_objects(vault), *_unfinished(vault), *_uploads(vault)]
    return [each for each in found if now - each.since > SAFE_AGE]


def orphans(vault: Vault) -> list[str]:
    """Return the names of objects that no manifest tells of, whatever their age."""
    return [leftover.name for leftover in _objects(vault)]


def remove(vault: Vault, leftover: Leftover) -> None:
    """Remove one. Raises StorageError."""
    if leftover.upload is not None:
        vault.abort(leftover.upload)
    else:
        vault.delete(leftover.name)


def _something_is_written() -> bool:
    writing = Run.objects.filter(kind__in=(RunKind.BACKUP, RunKind.COPY))
    return bool(living(writing.running()).exists())


def _objects(vault: Vault) -> Iterator[Leftover]:
    known = {name.removesuffix(".json") for name in vault.names(manifest.FOLDER)}
    for folder in _FOLDERS:
        for name in vault.names(folder):
            backup = name.partition(".")[0]
            if _is_ours(backup) and backup not in known and not _in_catalogue(backup):
                where = f"{folder}/{name}" if folder else name
                what = "metadata" if name.endswith(_METADATA) else "an object"
                yield Leftover(where, f"{what} without a manifest", vault.modified_at(where))
    for name in vault.names(pins.FOLDER):
        backup = name.removesuffix(".json")
        if _is_ours(backup) and backup not in known and not _in_catalogue(backup):
            where = f"{pins.FOLDER}/{name}"
            yield Leftover(where, "a pin of no backup", vault.modified_at(where))


def _unfinished(vault: Vault) -> Iterator[Leftover]:
    for name in vault.unfinished():
        yield Leftover(name, "an unfinished file", vault.modified_at(name))


def _uploads(vault: Vault) -> Iterator[Leftover]:
    for upload in vault.open_uploads():
        yield Leftover(upload.name, "an upload that was not completed", upload.began_at, upload)


def _is_ours(backup: str) -> bool:
    parts = parse_name(backup)
    return parts is not None and parts.environment == settings.ENVIRONMENT


def _in_catalogue(backup: str) -> bool:
    # A lost manifest can be written again from the row: its object is no leftover.
    return Backup.objects.filter(name=backup).exists()
