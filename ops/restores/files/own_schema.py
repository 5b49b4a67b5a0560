"""Our own definitions, for a file that holds rows alone: from the newest backup that has any."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings

from ops.backups.errors import BackupError, DamagedError, KeyMissingError, MissingObjectError
from ops.backups.inspection import read_manifest
from ops.backups.manifest import Manifest
from ops.backups.restoring import SECTIONS, restore_section
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind
from ops.progress import Progress
from ops.restores.errors import RefusedError

_TRIED = 5


@dataclass(frozen=True)
class OwnSchema:
    """A backup whose definitions are used, and whose rows are not."""

    manifest: Manifest
    vault: Vault

    def begin(self, place: Scratch, database: str, progress: Progress) -> None:
        """Make the tables: without keys and triggers, so that rows may come in any order."""
        try:
            restore_section(place, database, self.manifest, self.vault, SECTIONS[0], progress)
        except (DamagedError, KeyMissingError, MissingObjectError) as error:
            raise RefusedError(
                f"The schema for these rows could not be restored from {self.manifest.name}: "
                f"{error} Nothing of the live database was touched."
            ) from None

    def complete(self, place: Scratch, database: str, called: str, progress: Progress) -> None:
        """Make keys, indexes and triggers. Raises RefusedError when the rows don't fit them."""
        try:
            restore_section(place, database, self.manifest, self.vault, SECTIONS[2], progress)
        except DamagedError as error:
            raise RefusedError(
                f"The rows of {called} don't fit the definitions of {self.manifest.name}: {error} "
                "Nothing of the live database was touched."
            ) from None


def own_schema() -> OwnSchema:
    """Return the newest backup of this environment that holds definitions.

    Raises RefusedError when there is none that can be read.
    """
    backups = (
        Backup.objects.of_environment(settings.ENVIRONMENT)
        .good()
        .of_kind(BackupKind.FULL, BackupKind.SCHEMA)
        .newest_first()
    )
    for backup in backups[:_TRIED]:
        vault = Vault.of(backup.storage)
        with suppress(BackupError):
            return OwnSchema(read_manifest(backup.name, vault), vault)
    raise RefusedError(
        "The file holds rows without their tables, and there is no backup whose definitions they "
        "could be loaded into. Nothing was begun. Take one (`manage.py backup --schema-only`) and "
        "run this again."
    )
