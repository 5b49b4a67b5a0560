"""Taking a backup, from being asked to the row in the catalogue: the one door for every kind."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error
from django.utils import timezone

from ops.backups import keys
from ops.backups.catalogue import record_backup
from ops.backups.dbbackup import METADATA, metadata_name
from ops.backups.errors import BackupError
from ops.backups.lock import one_at_a_time
from ops.backups.logical import LogicalRequest, take_logical
from ops.backups.manifest import Manifest
from ops.backups.naming import new_name, parse_name
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind, Run, RunKind
from ops.models.backups import LOGICAL, PHYSICAL
from ops.postgres.errors import one_line
from ops.progress import CancelledError, Counter, Progress, Several
from ops.runs import Asker, ask, refresh_connection, running

# Somebody who takes one of another database into the same folder writes all the time.
_SURELY_DEAD = timedelta(minutes=1)


@dataclass(frozen=True)
class Request:
    """What an operator, a page or the schedule asks for."""

    kind: str = BackupKind.FULL
    label: str = ""  # becomes part of the name
    folder: str = ""  # store there instead of in the storage
    tables: tuple[str, ...] = ()
    jobs: int = 1
    encrypt: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return what a run's row keeps."""
        return {
            "kind": str(self.kind),
            "label": self.label,
            "folder": self.folder,
            "tables": list(self.tables),
            "jobs": self.jobs,
            "encrypt": self.encrypt,
        }

    @classmethod
    def of_run(cls, run: Run) -> Request:
        """Return what a run was asked for."""
        return cls(**{**run.arguments, "tables": tuple(run.arguments["tables"])})


def ask_for_backup(request: Request, *, by: Asker) -> Run:
    """Record that somebody wants a backup. Nothing is taken yet.

    Raises BackupError for a label that can't be part of a name.
    """
    new_name(
        environment=settings.ENVIRONMENT,
        taken_at=timezone.now(),
        kind=request.kind,
        label=request.label,
    )
    return ask(
        RunKind.BACKUP,
        f"{BackupKind(request.kind).label} backup",
        by=by,
        arguments=request.as_json(),
    )


def take_backup(run: Run, progress: Progress | None = None, *, off_site: bool = True) -> Backup:
    """Take the backup a run asks for, and return its row in the catalogue.

    Raises OpsError: nothing that looks like a backup is left then, and the run says why. A failing
    off-site copy is told by a run of its own, and by the copy that is not there. Without `off_site`
    the next backup, or whoever is in less of a hurry, copies it.
    """
    request = Request.of_run(run)
    with running(run) as own, one_at_a_time(request.kind, run):
        told = Several(own, progress or Counter())
        vault = Vault.folder(Path(request.folder)) if request.folder else Vault.primary()
        key = keys.signing_keys()[0]
        _clean_up(request.kind, vault)
        manifest = _take(run, request, vault, told)
        _complete(manifest, vault, key, told)
        backup = _record(manifest, vault)
        own.backup = backup
        own.say(f"{backup.name} is taken.")
    if off_site and not request.folder:
        copy_off_site(run, backup, progress)
    return backup


def copy_off_site(run: Run, backup: Backup, progress: Progress | None) -> None:
    """Copy the backup, and what earlier copies failed at, if there is a second storage."""
    from ops.backups.copies import copy_missing

    asker = Asker(run.asked_by, run.via, run.asked_by_user_id)
    # Whoever stops the copy has the backup all the same; the copy's run says that it was stopped.
    with suppress(CancelledError):
        copy_missing(by=asker, progress=progress, first=backup)


def _take(run: Run, request: Request, vault: Vault, progress: Progress) -> Manifest:
    encryption = keys.encryption(wanted=request.encrypt)
    if request.kind in LOGICAL:
        return take_logical(
            LogicalRequest(
                kind=request.kind,
                label=request.label,
                tables=request.tables,
                jobs=request.jobs,
                encryption=encryption,
            ),
            vault,
            progress,
        )
    if request.kind in PHYSICAL:
        from ops.backups.physical import take_physical

        # The run's own row, written before the copy begins, is what a restored copy is known by.
        return take_physical(
            request.kind, request.label, encryption, vault, progress, witness=run.pk
        )
    if request.kind == BackupKind.MEDIA:
        from ops.backups.media import take_media

        return take_media(request.label, encryption, vault, progress)
    raise BackupError(f"A {request.kind} backup can't be taken this way. Nothing was taken.")


def _clean_up(kind: str, vault: Vault) -> None:
    """Remove what killed processes left of this kind, which nobody else is taking now."""
    for name in vault.unfinished():
        left = parse_name(name.rpartition("/.")[2].partition(".")[0])
        ours = left and (left.environment, left.kind) == (settings.ENVIRONMENT, kind)
        if ours and timezone.now() - vault.modified_at(name) > _SURELY_DEAD:
            vault.delete(name)


def _complete(manifest: Manifest, vault: Vault, key: str, progress: Progress) -> None:
    """Write what makes the object a backup; the manifest comes last."""
    try:
        progress.check()
        if manifest.kind == BackupKind.FULL:
            vault.write(metadata_name(manifest.archive.name), METADATA)
        vault.write(manifest.object_name, manifest.signed(key))
    except BaseException:
        discard(manifest, vault)
        raise


def _record(manifest: Manifest, vault: Vault) -> Backup:
    """Enter it into the catalogue. It is a backup already: a failure here takes nothing away."""
    try:
        refresh_connection()
        return record_backup(manifest, vault.label)
    except Error as error:
        raise BackupError(
            f"{manifest.name} is taken and whole in {vault.label}, but the database went away "
            f"before the catalogue had it: {one_line(error)}. When it is back, `manage.py backups "
            "--rebuild` enters it."
        ) from error


def discard(manifest: Manifest, vault: Vault) -> None:
    """Remove everything of a backup from a storage, the manifest first."""
    vault.delete(manifest.object_name)
    for stored in manifest.objects:
        vault.delete(stored.name)
    if manifest.kind == BackupKind.FULL:
        vault.delete(metadata_name(manifest.archive.name))
