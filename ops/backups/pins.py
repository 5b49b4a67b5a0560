"""Pins: backups that retention never deletes, each with who wants that and why.

A pin is a signed file beside the backup as well as a row, so that it survives a lost database; in
the off-site copy too, when the backup has one there.
"""

from __future__ import annotations

import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import router, transaction
from django.utils import timezone

from ops.backups import keys
from ops.backups.errors import BackupError, DamagedError, StorageError
from ops.backups.manifest import signature_of
from ops.backups.vault import Vault
from ops.models import Backup, Run, RunKind
from ops.runs import Asker, record

FOLDER = "pins"
_LONGEST = 10_000  # bytes
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Pin:
    """What a pin's file says."""

    backup: str
    reason: str
    by: str
    at: datetime


def pin(backup: Backup, *, reason: str, by: Asker, run: Run | None = None) -> Backup:
    """Keep a backup for ever, or renew why; returns its row.

    `run` is the one that was asked for; without it one is recorded. Raises BackupError without a
    reason, and StorageError when the pin can't be stored: nothing is pinned then.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise BackupError(
            f"{backup} was not pinned: a pin needs a reason, so that somebody can tell later "
            "whether it still holds. Give one."
        )
    if len(reason) > _LONGEST_REASON:
        raise BackupError(
            f"{backup} was not pinned: the reason has {len(reason)} characters; "
            f"{_LONGEST_REASON} are the most."
        )
    wanted = Pin(backup.name, reason, by.name, timezone.now())
    with transaction.atomic(using=router.db_for_write(Backup)):
        row = _locked(backup)
        row.pinned_at, row.pinned_by, row.pin_reason = wanted.at, wanted.by, wanted.reason
        row.save(update_fields=["pinned_at", "pinned_by", "pin_reason"])
        # Last, so that a storage that refuses takes the row back as well.
        for vault in _vaults(row):
            vault.write(pin_name(row.name), _signed(wanted))
    if run is None:
        record(RunKind.PIN, row.name, by=by, message=f"Pinned: {reason}.", backup=row)
    return row


def unpin(backup: Backup, *, by: Asker, run: Run | None = None) -> Backup:
    """Let retention decide about a backup again; returns its row.

    Raises BackupError when it is not pinned, and StorageError, after which it still is.
    """
    with transaction.atomic(using=router.db_for_write(Backup)):
        row = _locked(backup)
        if row.pinned_at is None:
            raise BackupError(f"{row} is not pinned. Nothing was changed.")
        row.pinned_at, row.pinned_by, row.pin_reason = None, "", ""
        row.save(update_fields=["pinned_at", "pinned_by", "pin_reason"])
        for vault in _vaults(row):
            vault.delete(pin_name(row.name))
    if run is None:
        record(RunKind.PIN, row.name, by=by, message="No longer pinned.", backup=row)
    return row


def pin_name(backup: str) -> str:
    """Return where the pin of a backup lies."""
    return f"{FOLDER}/{backup}.json"


def read_pin(vault: Vault, backup: str) -> Pin:
    """Return a pin from the storage. Raises DamagedError when it is none or somebody edited it."""
    try:
        document = json.loads(vault.read(pin_name(backup), _LONGEST))
        signature = document.pop("signature")
        found = Pin(
            document["backup"],
            document["reason"],
            document["by"],
            datetime.fromisoformat(document["at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"The pin of {backup} can't be read.") from None
    good = any(
        hmac.compare_digest(str(signature), signature_of(document, key))
        for key in keys.signing_keys()
    )
    if not good or found.backup != backup or document.get("document") != "pin":
        raise DamagedError(
            f"The pin of {backup} was changed, is another backup's, or was signed with another key."
        )
    return found


def copy_pin(backup: Backup, target: Vault) -> None:
    """Store a pinned backup's pin beside its copy."""
    if backup.pinned_at is not None:
        wanted = Pin(backup.name, backup.pin_reason, backup.pinned_by, backup.pinned_at)
        target.write(pin_name(backup.name), _signed(wanted))


def _signed(wanted: Pin) -> bytes:
    document = {
        "document": "pin",  # so that no other signed file passes for one
        "backup": wanted.backup,
        "reason": wanted.reason,
        "by": wanted.by,
        "at": wanted.at.isoformat(),
    }
    document["signature"] = signature_of(document, keys.signing_keys()[0])
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _locked(backup: Backup) -> Backup:
    row = Backup.objects.select_for_update().filter(pk=backup.pk).first()
    if row is None:
        raise BackupError(f"{backup} is not in the catalogue any more. Nothing was changed.")
    return row


def _vaults(backup: Backup) -> list[Vault]:
    """The storages a backup lies in, its own first. A copy's that is away is made up for later."""
    found = [Vault.of(backup.storage)]
    for label in backup.copies.values_list("storage", flat=True):
        with suppress(StorageError):
            second = Vault.of(label)
            second.names(FOLDER)
            found.append(second)
    return found
