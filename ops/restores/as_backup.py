"""A private database becomes a backup, so that every restore goes on from a dump with a proof.

It is dumped as any backup is, into a folder that whoever asked removes: compressed, not encrypted,
and in no catalogue.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from django.conf import settings

from ops.backups import keys
from ops.backups.logical import LogicalRequest, take_logical
from ops.backups.manifest import Manifest
from ops.backups.vault import Vault
from ops.progress import Progress
from ops.restores.private import PrivateDatabase

ORIGIN = "origin"  # in a manifest's details: what the private database came from, in words


def as_backup(private: PrivateDatabase, folder: Path, progress: Progress) -> tuple[Manifest, Vault]:
    """Dump a private database with proof into a folder; return its signed manifest and the storage.

    The manifest is of the moment that the data is of, and of the environment that it came from,
    where those are known. Raises OpsError; nothing that looks like a backup is left then.
    """
    # Without a key there is nothing to sign by: better to know before the dump.
    key = keys.signing_keys()[0]
    vault = Vault.folder(folder)
    taken = take_logical(LogicalRequest(), vault, progress, endpoint=private.endpoint)
    manifest = replace(
        taken,
        environment=private.manifest.environment if private.manifest else settings.ENVIRONMENT,
        taken_at=private.holds.isoformat() if private.holds else taken.taken_at,
        details={**taken.details, ORIGIN: private.origin},
    )
    try:
        progress.check()
        vault.write(manifest.object_name, manifest.signed(key))
    except BaseException:
        vault.delete(manifest.archive.name)
        raise
    return manifest, vault
