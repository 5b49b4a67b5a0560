"""Checking a backup, from being asked to the state in the catalogue: the one door for every kind.

A light check reads every byte; a deep one restores it besides, and compares every number. What
could not be looked at keeps the state it has: out of reach is not damaged, and unread is not whole.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from ops.backups.deep import prove
from ops.backups.deepphysical import prove_physical
from ops.backups.errors import (
    BackupError,
    CannotProveError,
    DamagedError,
    DisprovenError,
    KeyMissingError,
    MissingObjectError,
)
from ops.backups.foreign import inspect_foreign
from ops.backups.inspection import inspect, read_manifest
from ops.backups.manifest import Manifest
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.models import Backup, BackupCopy, BackupKind, BackupState, Run, RunKind
from ops.models.backups import PHYSICAL
from ops.progress import Counter, Progress, Several
from ops.runs import Asker, ask, running

STALE = (
    "The catalogue's row is not what the manifest in the storage says; `manage.py backups "
    "--rebuild` renews it."
)


@dataclass(frozen=True)
class Found:
    """What a check came to."""

    note: str
    bad: str = ""  # failed or missing
    read: bool = False  # to its last byte, with nothing wrong
    proven: bool = False
    disproven: bool = False
    stale: bool = False  # the catalogue's row says something else


def ask_for_verification(checked: Backup | BackupCopy, *, by: Asker, deep: bool = False) -> Run:
    """Record that somebody wants a backup, or its off-site copy, checked. Nothing is done yet."""
    copy = checked if isinstance(checked, BackupCopy) else None
    backup = checked.backup if isinstance(checked, BackupCopy) else checked
    return ask(
        RunKind.PROVE if deep else RunKind.VERIFY,
        f"{backup.name} in {checked.storage}" if copy else backup.name,
        by=by,
        arguments={"deep": deep, "copy": copy.pk if copy else None},
        backup=backup,
    )


def verify_backup(
    run: Run, progress: Progress | None = None, *, server: Scratch | None = None
) -> Backup | BackupCopy:
    """Check what a run asks for, keep the outcome in the catalogue and return its row.

    A bad backup is an outcome, not an error. Raises OpsError when it could not be looked at; its
    state is then what it was. `server` is a scratch one for deep checks, else one is made for this.
    """
    with running(run) as own:
        checked = _subject(run)
        told = Several(own, progress or Counter())
        began = time.monotonic()
        found = _look(checked, bool(run.arguments.get("deep")), told, server)
        keep_outcome(checked, found, time.monotonic() - began)
        own.backup = _backup(checked)
        told.say(f"{run.subject}: {_sentence(checked)}")
    return checked


def _sentence(checked: Backup | BackupCopy) -> str:
    label = BackupState(checked.state).label.lower()
    return f"{label}. {checked.state_note}".strip()


def _subject(run: Run) -> Backup | BackupCopy:
    found: Backup | BackupCopy | None
    if copy := run.arguments.get("copy"):
        found = BackupCopy.objects.select_related("backup").filter(pk=copy).first()
    else:
        # Anew: whoever asked may hold a row that others have changed since.
        found = Backup.objects.filter(pk=run.backup_id or 0).first()
    if found is None:
        raise BackupError(f"{run.subject} is not in the catalogue any more. Nothing was checked.")
    return found


def _backup(checked: Backup | BackupCopy) -> Backup:
    return checked.backup if isinstance(checked, BackupCopy) else checked


def _look(
    checked: Backup | BackupCopy, deep: bool, progress: Progress, server: Scratch | None
) -> Found:
    backup, vault = _backup(checked), Vault.of(checked.storage)
    try:
        if backup.kind == BackupKind.FOREIGN:
            return Found(inspect_foreign(backup.name, vault, progress))
        manifest = read_manifest(backup.name, vault)
        stale = not is_same(manifest, backup)
        note = f"{STALE} " if stale else ""
        unread, proven, said = _checked(manifest, vault, deep, progress, server)
    except MissingObjectError as error:
        return Found(str(error), bad=BackupState.MISSING)
    except DisprovenError as error:
        return Found(str(error), bad=BackupState.FAILED, disproven=True)
    except DamagedError as error:
        # A second Ctrl-C breaks the reading off in the middle, which looks like a damaged end.
        progress.check()
        return Found(str(error), bad=BackupState.FAILED)
    if unread:
        size = sum(each.size for each in manifest.objects)
        said = f"Its {size:,} bytes are as they were stored, but it could not be read. {unread}"
    return Found(f"{note}{said}".strip(), read=not unread, proven=proven, stale=stale)


def _checked(
    manifest: Manifest, vault: Vault, deep: bool, progress: Progress, server: Scratch | None
) -> tuple[str, bool, str]:
    """Return why it was not read (or ""), whether it is proven, and what is to be said."""
    said = ""
    if deep and manifest.kind in PHYSICAL:
        # Starting it takes all that a light check does, so that is not done twice.
        try:
            return "", True, prove_physical(manifest, vault, progress)
        except CannotProveError as error:
            said = str(error)
        except KeyMissingError:
            pass  # the light check tells, and looks at every byte all the same
    seen = inspect(manifest.name, vault, progress)
    if seen.unread or not deep or said:
        return seen.unread, False, said
    try:
        return "", True, prove(seen, vault, progress, server=server)
    except CannotProveError as error:
        return "", False, str(error)


def is_same(manifest: Manifest, backup: Backup) -> bool:
    """Whether the catalogue's row is of this very manifest."""
    try:
        kept = Manifest.of_row(backup.manifest)
    except (KeyError, TypeError):
        return False
    size = sum(each.size for each in manifest.objects)
    return kept == manifest and (backup.kind, backup.size) == (manifest.kind, size)


def keep_outcome(checked: Backup | BackupCopy, found: Found, seconds: float) -> None:
    """Let the catalogue say what a check came to: its state, since when, and why."""
    now = timezone.now()
    values: dict[str, Any] = {"checked_at": now, "check_seconds": round(seconds, 3)}
    if found.read:
        values["verified_at"] = now
    if found.proven:
        values |= {"proven_at": now, "disproven_at": None}
    if found.disproven:
        values["disproven_at"] = now
    values["state"] = _state(checked, found)
    values["state_note"] = found.note
    if values["state"] == BackupState.FAILED and not found.bad:
        values["state_note"] = (
            f"{found.note} A restore of it differed from its manifest on "
            f"{checked.disproven_at:%Y-%m-%d %H:%M} UTC; only another one can clear that."
        ).strip()
    type(checked)._default_manager.filter(pk=checked.pk).update(**values)
    for name, value in values.items():
        setattr(checked, name, value)


def keep_damage(checked: Backup | BackupCopy, error: Exception) -> None:
    """Let the catalogue say that an object was found missing or damaged; other errors say nothing.

    For whoever finds it without having been asked to check, such as a restore.
    """
    if isinstance(error, MissingObjectError):
        keep_outcome(checked, Found(str(error), bad=BackupState.MISSING), 0)
    elif isinstance(error, DamagedError):
        keep_outcome(checked, Found(str(error), bad=BackupState.FAILED), 0)


def _state(checked: Backup | BackupCopy, found: Found) -> str:
    if found.bad:
        return found.bad
    if found.proven:
        return BackupState.PROVEN
    if checked.disproven_at is not None:
        return BackupState.FAILED
    if found.read:
        # It is, byte for byte, what was once restored and found equal.
        once = checked.proven_at is not None and not found.stale
        return BackupState.PROVEN if once else BackupState.VERIFIED
    if checked.state in {BackupState.FAILED, BackupState.MISSING} or found.stale:
        return BackupState.TAKEN
    return checked.state
