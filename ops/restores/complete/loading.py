"""The restore procedure beside the live database, and what its errors mean there."""

from __future__ import annotations

import psycopg

from ops.backups.dump_restore.comparing import Compared, Restored, listed
from ops.backups.dump_restore.errors import ExtensionError, LoadError, TooNewError
from ops.backups.dump_restore.procedure import Dump, Loaded, Target, restore_dump
from ops.backups.manifest import Manifest
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.complete.administrator import VARIABLE
from ops.restores.errors import RefusedError, RestoreError, UnequalError


class LackOfRightsError(RefusedError):
    """The owner's login may not make something that is in the backup."""


def load(
    dump: Dump, schema: Dump | None, target: Target, progress: Progress, *, jobs: int
) -> Loaded:
    """Restore a dump beside. Raises RestoreError, which names the object."""
    try:
        return restore_dump(dump, schema, target, progress, jobs=jobs)
    except TooNewError as error:
        raise RefusedError(
            f"{error} Nothing was changed. Restore it on a server of that version."
        ) from None
    except LoadError as error:
        raise _told(dump.manifest, error, target.owner.user) from None


def _told(manifest: Manifest, error: LoadError, owner: str) -> RestoreError:
    untouched = "The live database was not touched, and what was begun is removed."
    if "No space left on device" in error.reason:
        return RestoreError(
            f"The disk of the server is full: {manifest.name} could not be restored beside "
            f"({error}). {untouched} Free some, and run this again."
        )
    if isinstance(error, ExtensionError):
        return LackOfRightsError(
            f"{error.what} could not be made beside: {error.reason}. {untouched} `manage.py "
            f"provision` makes a template that has it; or run this with {VARIABLE} set to a "
            "superuser's address."
        )
    if error.is_for_lack_of_rights:
        return LackOfRightsError(
            f"{owner} may not restore what is in {manifest.name}: {error}. {untouched} Run this "
            f"with {VARIABLE} set to a superuser's address."
        )
    return RestoreError(f"{manifest.name} could not be restored beside: {error}. {untouched}")


def require_equal(
    login: Endpoint, manifest: Manifest, progress: Progress, *, jobs: int = 2
) -> Compared:
    """Hold a restored database against its manifest: rows, hashes, sequences, definitions, roles.

    Raises UnequalError, which lists what differs, and RestoreError when it could not be read.
    """
    if manifest.proof is None:
        raise RestoreError(
            f"The manifest of {manifest.name} proves nothing, so what was restored can't be held "
            "against it. The live database was not touched."
        )
    try:
        compared, differences = Restored(login, manifest).compare(progress, jobs=jobs)
    except psycopg.Error as error:
        raise RestoreError(
            f"What was restored beside could not be read ({one_line(error)}). The live database "
            "was not touched. Check the server and run this again."
        ) from error
    if differences:
        raise UnequalError(
            f"Restored beside, {manifest.name} is not what its manifest says. The live database "
            f"was not touched, and what was restored is removed. {listed(differences)}"
        )
    return compared
