"""What a restore goes on from: a manifest and the storage of its objects, whatever was asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

from django.conf import settings

from ops.backups.catalogue import find_backup
from ops.backups.errors import BackupError, DamagedError, MissingObjectError, StorageError
from ops.backups.inspection import read_manifest, require_told_size
from ops.backups.manifest import FOLDER, Manifest, manifest_name
from ops.backups.naming import BackupName, parse_name
from ops.backups.vault import Vault
from ops.backups.verify import keep_damage
from ops.models import Backup, BackupCopy, BackupKind
from ops.models.backups import GOOD
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest


@dataclass(frozen=True)
class Source:
    """A backup with proof, and what people call where it came from."""

    manifest: Manifest
    vault: Vault
    origin: str
    row: Backup | None = None  # in the catalogue, when that is where it was found

    @property
    def holds(self) -> datetime:
        """The moment its data is of."""
        return datetime.fromisoformat(self.manifest.taken_at)


def known_source(request: RestoreRequest) -> Source | None:
    """Return what was asked for where a manifest tells of it already, None where one is to be made.

    Raises OpsError when there is none, or when it can't be trusted.
    """
    if sum(map(bool, (request.backup, request.file, request.moment))) != 1:
        raise RefusedError(
            "What to restore from has to be one of: a backup, a file, a moment. Nothing was done."
        )
    if request.backup:
        return _of_catalogue(request.backup)
    return _of_file(Path(request.file)) if request.file else None


def open_source(request: RestoreRequest, folder: Path, progress: Progress) -> Source:
    """Return what was asked for, made into a backup with proof in `folder` where it is none yet.

    Raises OpsError; what was begun is gone with the folder.
    """
    found = known_source(request)
    if found is not None:
        return found
    from ops.restores.as_backup import as_backup

    if request.moment:
        from ops.restores.moments.recovering import Target, recovered

        with recovered(Target.parse(request.moment), progress) as private:
            manifest, vault = as_backup(private, folder, progress)
            return Source(manifest, vault, private.origin)
    from ops.restores.files.loading import loaded

    with loaded(Path(request.file), progress) as private:
        manifest, vault = as_backup(private, folder, progress)
        return Source(manifest, vault, private.origin)


def newest_stored() -> Source:
    """Return the newest full backup of this environment by the storages alone.

    For a server that has no catalogue. Raises RefusedError when there is none.
    """
    failed = ""
    for vault in filter(None, (Vault.primary(), Vault.second())):
        with suppress(StorageError):
            vault.require_there()
            names = [name.removesuffix(".json") for name in vault.names(FOLDER)]
            dated = [(parts.taken_at, name) for name in names if (parts := _full(name))]
            # A name has the second; of several in one second the manifests know which is newer.
            for _, second in groupby(sorted(dated, reverse=True), key=itemgetter(0)):
                found = []
                for _, name in second:
                    try:
                        found.append(read_manifest(name, vault))
                    except BackupError as error:
                        failed = failed or f" {error}"
                if found:
                    newest = max(found, key=attrgetter("taken_at"))
                    return Source(newest, vault, f"the backup {newest.name}")
    raise RefusedError(
        f"There is no full backup of {settings.ENVIRONMENT} in the storage. Nothing was done."
        f"{failed} Check BACKUP_STORAGE_URL, or name a file."
    )


def stored_source(name: str) -> Source:
    """Return a backup by its whole name and the storages alone. Raises OpsError."""
    second = Vault.second()
    vault = Vault.primary()
    if second is not None and not vault.exists(manifest_name(name)):
        vault = second
    try:
        return Source(read_manifest(name, vault), vault, f"the backup {name}")
    except MissingObjectError:
        raise RefusedError(
            f"There is no backup {name!r} in the storage, and no catalogue to look further. "
            "Nothing was done. Write its whole name, or --latest."
        ) from None


def _full(name: str) -> BackupName | None:
    parts = parse_name(name)
    ours = parts and (parts.kind, parts.environment) == (BackupKind.FULL, settings.ENVIRONMENT)
    return parts if ours else None


def _of_catalogue(name: str) -> Source:
    """Return a backup, or its off-site copy where its own objects are gone.

    Raises RefusedError when no place has them whole; what is damaged there is kept in the
    catalogue, so that nobody is led to the same backup again.
    """
    row = find_backup(name)
    origin, failed = f"the backup {row.name}", ""
    places: list[Backup | BackupCopy] = [row, *row.copies.filter(state__in=GOOD)]
    for stored in places:
        is_copy = isinstance(stored, BackupCopy)
        try:
            vault = Vault.of(stored.storage)
            manifest = _manifest(row, stored.storage)
            for each in manifest.objects:
                require_told_size(vault, each)
        except (StorageError, DamagedError) as error:
            keep_damage(stored, error)
            failed = failed or str(error)
        except BackupError:
            if not is_copy:
                raise
        else:
            return Source(manifest, vault, origin + (" (off-site copy)" if is_copy else ""), row)
    raise RefusedError(f"{row.name} can't be read: {failed} Nothing was changed.{_instead(row)}")


def _instead(row: Backup) -> str:
    newest = Backup.objects.exclude(pk=row.pk).newest_full(row.environment)
    return f" The newest good one is {newest.name}: name it instead." if newest else ""


def _manifest(row: Backup, storage: str) -> Manifest:
    if row.kind == BackupKind.FOREIGN:
        raise RefusedError(
            f"{row.name} was made by django-dbbackup alone and has no manifest. Nothing was "
            "changed. Name its file instead: it is looked at on a private server first."
        )
    return read_manifest(row.name, Vault.of(storage))


def _of_file(path: Path) -> Source | None:
    """Return one of our own objects or manifests in a folder; None for anybody else's file."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise RefusedError(f"There is no file {path}. Nothing was done.")
    name = path.stem if path.suffix == ".json" else path.name.partition(".")[0]
    if parse_name(name) is None:
        return None
    for folder in (path.parent, path.parent.parent):
        if (folder / manifest_name(name)).is_file():
            vault = Vault.folder(folder)
            manifest = read_manifest(name, vault)
            row = Backup.objects.filter(name=name).first() if _has_catalogue() else None
            return Source(manifest, vault, f"the file {path}", row)
    return None


def _has_catalogue() -> bool:
    from django.db import Error

    try:
        return Backup.objects.exists() or True
    except Error:
        return False
