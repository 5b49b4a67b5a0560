"""The catalogue from the storages alone: for the machine that has lost its database.

Every manifest is read and its signature checked; one that can't be trusted gets a row that says
why. Nothing in the storages is changed, and no row is deleted: what is gone becomes missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from django.utils import timezone

from ops.backups import keys
from ops.backups.catalogue import record_backup
from ops.backups.errors import DamagedError, MissingObjectError
from ops.backups.leftovers import orphans
from ops.backups.manifest import FOLDER, LONGEST, Manifest, manifest_name
from ops.backups.naming import parse_name
from ops.backups.pins import FOLDER as PINS
from ops.backups.pins import read_pin
from ops.backups.vault import Vault
from ops.backups.wal.shipping import rebuild_segments
from ops.models import Backup, BackupCopy, BackupKind, BackupState, Run, RunKind
from ops.progress import Counter, Progress, Several
from ops.runs import Asker, ask, running

_MARK = "Found by backups --rebuild: "
_TOLD = 20  # of those that can't be trusted; the others are in the list


@dataclass
class Rebuilt:
    """What the storages hold."""

    found: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # by name, why it can't be trusted
    missing: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    copies: int = 0
    segments: int = 0
    orphans: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{self.found:,} backups",
            f"{self.copies:,} off-site copies",
            f"{self.segments:,} WAL segments",
            f"{len(self.foreign):,} of django-dbbackup alone",
            f"{len(self.failed):,} that can't be trusted",
            f"{len(self.missing):,} missing",
            f"{len(self.orphans):,} objects without a manifest",
        ]
        return ", ".join(parts)


def ask_to_rebuild(*, by: Asker) -> Run:
    """Record that somebody wants the catalogue read anew."""
    return ask(RunKind.REBUILD, "", by=by)


def rebuild(run: Run, progress: Progress | None = None) -> Rebuilt:
    """Read the catalogue anew from the storages; doing it twice changes nothing.

    Raises StorageError when a storage is out of reach, and BackupError without a signing key: rows
    that are right already stay then.
    """
    with running(run) as own:
        told = Several(own, progress or Counter())
        done = Rebuilt()
        signing = keys.signing_keys()
        vaults = [vault for vault in (Vault.primary(), Vault.second()) if vault is not None]
        for vault in vaults:
            if Backup.objects.filter(storage=vault.label).exists():
                vault.require_there()
        for vault in vaults:
            told.phase(f"reading {vault.label}")
            _Reading(vault, signing, done, told).all()
        own.say(f"The storages hold {done}.")
        for name, why in list(done.failed.items())[:_TOLD]:
            own.say(f"{name}: {why}")
    return done


class _Reading:
    """One storage, read into the catalogue; one manifest at a time is in memory."""

    def __init__(self, vault: Vault, signing: list[str], done: Rebuilt, progress: Progress) -> None:
        self._vault, self._signing = vault, signing
        self._done, self._progress = done, progress
        self._is_primary = vault.label == Vault.primary().label

    def all(self) -> None:
        """Read everything."""
        names = [name for name in self._vault.names(FOLDER) if name.endswith(".json")]
        every = [name.removesuffix(".json") for name in names]
        self._progress.phase(f"reading manifests in {self._vault.label}", len(every), "manifests")
        owned: set[str] = set()
        waiting = every
        while waiting:
            # What adds to another comes after it, in whatever order the storage lists them.
            later = [name for name in waiting if not self._read(name, owned)]
            if len(later) == len(waiting):
                for name in later:
                    self._distrust(name, "The backup it adds to is not in the storage.")
                break
            waiting = later
        self._pins()
        if self._is_primary:
            self._foreign(owned)
            self._done.orphans += orphans(self._vault)
        self._missing(set(every))
        self._done.segments += rebuild_segments(self._vault)

    def _read(self, name: str, owned: set[str]) -> bool:
        """Read one manifest; False when what it adds to has to come first."""
        self._progress.check()
        try:
            content = self._vault.read(manifest_name(name), LONGEST)
            manifest = Manifest.read(content, self._signing, name=name)
            if not self._is_primary and self._is_copy(manifest):
                self._done.copies += 1
            elif self._lacks_parent(manifest):
                return False
            else:
                self._enter(manifest)
            owned.update(stored.name for stored in manifest.objects)
        except MissingObjectError:
            pass  # deleted since it was listed
        except (DamagedError, KeyError, TypeError, ValueError) as error:
            known = isinstance(error, DamagedError)
            self._distrust(name, str(error) if known else "Its manifest can't be understood.")
        self._progress.advance(1)
        return True

    def _lacks_parent(self, manifest: Manifest) -> bool:
        return bool(manifest.parent and not Backup.objects.filter(name=manifest.parent).exists())

    def _enter(self, manifest: Manifest) -> None:
        backup = record_backup(manifest, self._vault.label)
        self._done.found += 1
        lost = backup.state == BackupState.MISSING
        # One whose manifest could not be read, and now can, has been checked by nobody.
        if lost or (backup.state == BackupState.FAILED and backup.state_note.startswith(_MARK)):
            _set_state(backup, BackupState.TAKEN, "")

    def _is_copy(self, manifest: Manifest) -> bool:
        """Enter a copy of a backup that the first storage has; False when it has it no more."""
        backup = Backup.objects.filter(name=manifest.name).exclude(storage=self._vault.label)
        row = backup.first()
        if row is None:
            return False
        BackupCopy.objects.get_or_create(
            backup=row,
            storage=self._vault.label,
            defaults={"copied_at": self._vault.modified_at(manifest.object_name)},
        )
        return True

    def _distrust(self, name: str, why: str) -> None:
        """Give a row to a manifest that can't be trusted; what the row knew better stays."""
        self._done.failed[name] = why
        known = Backup.objects.filter(name=name).first()
        if known is not None and known.storage != self._vault.label:
            return  # its copy is what can't be trusted; verifying the copy will say so
        if known is None:
            parts = parse_name(name)
            known = Backup.objects.create(
                name=name[:200],
                kind=parts.kind if parts else BackupKind.FOREIGN,
                environment=parts.environment if parts else "",
                storage=self._vault.label,
                taken_at=parts.taken_at if parts else self._vault.modified_at(manifest_name(name)),
                state=BackupState.FAILED,
            )
        _set_state(known, BackupState.FAILED, f"{_MARK}{why}")

    def _pins(self) -> None:
        for file in self._vault.names(PINS):
            name = file.removesuffix(".json")
            row = Backup.objects.filter(name=name, pinned_at__isnull=True).first()
            if row is None:
                continue
            try:
                pin = read_pin(self._vault, name)
            except DamagedError as error:
                self._done.failed[f"{PINS}/{file}"] = str(error)
                continue
            row.pinned_at, row.pinned_by, row.pin_reason = pin.at, pin.by, pin.reason
            row.save(update_fields=["pinned_at", "pinned_by", "pin_reason"])

    def _foreign(self, owned: set[str]) -> None:
        """Enter what django-dbbackup alone made: it lists such names, so we do."""
        from dbbackup.utils import filename_to_date

        for name in self._vault.names():
            if name in owned or name.endswith(".metadata") or parse_name(name.partition(".")[0]):
                continue
            taken_at = _date(filename_to_date, name)
            if taken_at is None:
                continue
            self._done.foreign.append(name)
            row, _ = Backup.objects.get_or_create(
                name=name[:200],
                defaults={
                    "kind": BackupKind.FOREIGN,
                    "environment": "",
                    "storage": self._vault.label,
                    "taken_at": taken_at,
                    "size": self._vault.size(name),
                    "encryption": "gpg" if PurePosixPath(name).suffix == ".gpg" else "",
                },
            )
            if row.state == BackupState.MISSING:
                _set_state(row, BackupState.TAKEN, "")

    def _missing(self, there: set[str]) -> None:
        """Mark what this storage has no more; a copy that is gone is none."""
        rows = Backup.objects.filter(storage=self._vault.label).exclude(state=BackupState.MISSING)
        there = there | set(self._done.foreign)
        for row in rows.defer("manifest").iterator(chunk_size=500):
            if row.name not in there:
                self._done.missing.append(row.name)
                _set_state(
                    row,
                    BackupState.MISSING,
                    "Its manifest is not in the storage any more, so it is no backup.",
                )
        if not self._is_primary:
            gone = BackupCopy.objects.filter(storage=self._vault.label)
            gone.exclude(backup__name__in=there).exclude(state=BackupState.MISSING).update(
                state=BackupState.MISSING,
                state_note="Its manifest is not in the second storage any more.",
                checked_at=timezone.now(),
            )


def _set_state(row: Backup, state: str, note: str) -> None:
    row.state, row.state_note, row.checked_at = state, note, timezone.now()
    row.save(update_fields=["state", "state_note", "checked_at"])


def _date(read: Any, name: str) -> datetime | None:
    try:
        found: datetime | None = read(name)
    except ValueError:  # digits in the right places that are no date
        return None
    return None if found is None else found.replace(tzinfo=UTC)
