"""Deleting a backup from a storage, and what the catalogue says afterwards."""

from __future__ import annotations

from ops.backups.manifest import Manifest, manifest_name
from ops.backups.pins import pin_name
from ops.backups.take import discard
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind, Checked


def delete_from(storage: str, backup: Backup) -> None:
    """Delete a backup from the storage it lies in, or its copy from the one that has it.

    The row goes with the last of them. Raises StorageError; the row stays then.
    """
    copy = backup.copies.filter(storage=storage).first()
    if copy is not None:
        remove_objects(Vault.of(storage), backup)
        copy.delete()
        return
    remove_objects(Vault.of(storage), backup)
    other = backup.copies.order_by("pk").first()
    if other is None:
        backup.delete()
        return
    # It lives on where its copy is, and what is known of the copy is what is known of it.
    for known in Checked._meta.get_fields():
        setattr(backup, known.name, getattr(other, known.name))
    backup.storage = other.storage
    backup.save()
    other.delete()


def remove_objects(vault: Vault, backup: Backup) -> None:
    """Remove everything of a backup from a storage, the manifest first. Raises StorageError."""
    document = Backup.objects.values_list("manifest", flat=True).get(pk=backup.pk)
    if document:
        discard(Manifest.of_row(document), vault)
    elif backup.kind != BackupKind.FOREIGN:
        # Nobody can read which objects it had; without it they are leftovers.
        vault.delete(manifest_name(backup.name))
    vault.delete(pin_name(backup.name))
