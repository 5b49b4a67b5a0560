"""The off-site copy: the same objects in a second storage, so that no fire takes both.

Every byte is hashed on its way; what differs from the manifest is never copied. A copy that fails
leaves the backup as good as it was, is told loudly, and is made up for by the next backup.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.core.files.base import File
from django.utils import timezone

from ops.backups import keys
from ops.backups.dbbackup import METADATA, metadata_name
from ops.backups.errors import BackupError, BusyError, DamagedError, MissingObjectError
from ops.backups.lock import given_back
from ops.backups.manifest import LONGEST, Manifest, StoredObject, manifest_name
from ops.backups.pins import copy_pin
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.models import Backup, BackupCopy, BackupKind, BackupState, Run, RunKind
from ops.postgres.endpoint import Endpoint
from ops.progress import CancelledError, Counter, Progress, Several
from ops.runs import OWNER, Asker, ask, running

log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_LOCK = (0x53525643, 32)  # beside those of ops/backups/lock.py


def ask_for_copy(backup: Backup, *, by: Asker) -> Run:
    """Record that somebody wants a backup copied off-site."""
    return ask(RunKind.COPY, backup.name, by=by, backup=backup)


def copy_backup(run: Run, progress: Progress | None = None) -> BackupCopy:
    """Copy the backup of a run to the second storage, and return the copy's row.

    Raises OpsError; nothing that looks like a backup is left in the second storage then.
    """
    with running(run) as own, _one_copy_at_a_time():
        told = Several(own, progress or Counter())
        backup = run.backup
        if backup is None:
            raise BackupError(f"{run.subject} is not in the catalogue any more. Nothing was done.")
        target = Vault.second()
        if target is None:
            raise BackupError(
                "There is no second storage. Nothing was copied. Set BACKUP_COPY_STORAGE."
            )
        copy = _copy(backup, Vault.of(backup.storage), target, told)
        own.say(f"{backup.name} is copied to {target.label}.")
    return copy


def copy_missing(
    *, by: Asker, progress: Progress | None = None, first: Backup | None = None
) -> list[Run]:
    """Copy what has no off-site copy and should have one; returns the runs, ended.

    `first`, a backup just taken, goes before what is made up for. Raises CancelledError; other
    failures are in the runs, in the log, and told to `progress`.
    """
    if Vault.second() is None:
        return []
    from ops.backups.retention import wanted_copies

    try:
        wanted = wanted_copies(timezone.now())
    except BackupError as error:
        # The plan is nonsense; what was just taken is copied all the same.
        log.error("What has no off-site copy yet stays without: %s", error)
        wanted = []
    wanted = [row for row in wanted if first is None or row.pk != first.pk]
    if first is not None and not has_copy(first):
        wanted = [*_parents(first, wanted), first, *wanted]
    runs, seen = [], set()
    for backup in wanted:
        if backup.pk in seen:
            continue
        seen.add(backup.pk)
        run = ask_for_copy(backup, by=by)
        runs.append(run)
        try:
            copy_backup(run, progress)
        except CancelledError:
            raise
        except OpsError as error:
            if progress is None:
                log.error("%s has no off-site copy: %s", backup, error)
            else:
                progress.say(f"{backup} has no off-site copy: {error}")
            if not isinstance(error, DamagedError | MissingObjectError):
                break  # the second storage is what is wrong: the next one would fail alike
        finally:
            run.refresh_from_db()
    return runs


def has_copy(backup: Backup) -> bool:
    """Tell whether the second storage has this backup, or none is configured."""
    target = Vault.second()
    if target is None or backup.storage == target.label:
        return True
    return backup.copies.filter(storage=target.label).exists()


def _parents(backup: Backup, wanted: list[Backup]) -> list[Backup]:
    """Return those that a backup adds to and that are to be copied, the base first."""
    missing, found = {row.pk: row for row in wanted}, []
    parent = backup.parent_id
    while parent in missing:
        found.append(missing[parent])
        parent = missing[parent].parent_id
    return found[::-1]


def _copy(backup: Backup, source: Vault, target: Vault, progress: Progress) -> BackupCopy:
    where = manifest_name(backup.name)
    content = source.read(where, LONGEST)
    manifest = Manifest.read(content, keys.signing_keys(), name=backup.name)
    if not _is_there(manifest, content, target):
        progress.phase("copying off-site", sum(each.size for each in manifest.objects), "bytes")
        try:
            for stored in manifest.objects:
                # What a killed copy left has no manifest, so it is nobody's.
                target.delete(stored.name)
                _send(stored, source, target, progress)
            if manifest.kind == BackupKind.FULL:
                target.write(metadata_name(manifest.archive.name), METADATA)
            target.write(where, content)
        except BaseException:
            _discard(manifest, target)
            raise
    copy_pin(backup, target)
    copy, _ = BackupCopy.objects.update_or_create(
        backup=backup,
        storage=target.label,
        defaults={"copied_at": timezone.now(), "state": BackupState.TAKEN, "state_note": ""},
    )
    return copy


def _is_there(manifest: Manifest, content: bytes, target: Vault) -> bool:
    """Tell whether the second storage has it already, as after a lost database."""
    where = manifest_name(manifest.name)
    if not target.exists(where):
        return False
    try:
        found = target.read(where, LONGEST)
        sizes = [target.size(stored.name) for stored in manifest.objects]
    except MissingObjectError:
        return False
    return found == content and sizes == [stored.size for stored in manifest.objects]


def _send(stored: StoredObject, source: Vault, target: Vault, progress: Progress) -> None:
    with source.open(stored.name) as opened:
        target.save(stored.name, _Passing(opened, stored, progress))
    target.require_size(stored)


def _discard(manifest: Manifest, target: Vault) -> None:
    """Remove what was copied. A storage that is away keeps it, without a manifest: a leftover."""
    names = [manifest_name(manifest.name), *(stored.name for stored in manifest.objects)]
    for name in [*names, metadata_name(manifest.archive.name)]:
        try:
            target.delete(name)
        except OpsError as error:
            log.info("%s may be left in %s: %s", name, target.label, error)
            return


class _Passing(File[bytes]):
    """An object on its way; fails before its end when it is not what its manifest says."""

    def __init__(self, opened: IO[bytes], stored: StoredObject, progress: Progress) -> None:
        super().__init__(opened, name=stored.name)
        self._opened, self._stored, self._progress = opened, stored, progress
        self._hash, self._size = hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        """Return some bytes. Raises DamagedError, and CancelledError when somebody asked."""
        self._progress.check()
        data = bytes(self._opened.read(_CHUNK if size < 0 else size))
        self._hash.update(data)
        self._size += len(data)
        self._progress.advance(len(data))
        if not data:
            self._require_same()
        return data

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield the object in pieces."""
        while piece := self.read(chunk_size or _CHUNK):
            yield piece

    def seekable(self) -> bool:
        """Tell storages to take it as it comes."""
        return False

    def _require_same(self) -> None:
        if (self._size, self._hash.hexdigest()) != (self._stored.size, self._stored.sha256):
            raise DamagedError(
                f"{self._stored.name} is not what its manifest says, so it was not copied. Verify "
                "that backup; what is in the second storage is untouched."
            )


@contextmanager
def _one_copy_at_a_time() -> Iterator[None]:
    with Endpoint.of(OWNER).connect(application_name="srvc backup copy") as connection:
        connection.execute("SET idle_session_timeout = 0")
        row: Any = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone()
        if not row[0]:
            raise BusyError(
                "Another copy is under way. Nothing was copied. The next backup makes up for what "
                "is missing."
            )
        with given_back(connection):
            yield
