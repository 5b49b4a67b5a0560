"""Uploaded files that recovered rows name: what of them is missing comes from a backup of media.

Nothing that is there is ever overwritten. A file counts once the whole backup it came from was
read and is what its manifest says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from django.conf import settings
from django.core.files.storage import Storage, storages
from psycopg import sql

from ops.backups.inspection import read_manifest
from ops.backups.media_names import is_restorable
from ops.backups.media_restore.differences import Choices
from ops.backups.media_restore.places import place_of
from ops.backups.media_restore.procedure import Folders, restore_media
from ops.backups.scratch import scratch
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Connection
from ops.progress import CancelledError, Progress


def file_columns(table: str) -> list[str]:
    """Return the columns of a table (schema.name) that settings say name an uploaded file."""
    listed: list[str] = settings.RECOVERY_FILE_COLUMNS
    split = [each.rpartition(".") for each in listed]
    return [column for owner, _, column in split if owner == table]


def files_of(
    connection: Connection, table: str, rows: sql.Composable | None = None
) -> Iterator[str]:
    """Yield the names of the files that rows of a table (schema.name) name, each once.

    `rows` is a query, table or view with the table's columns; by default all of its rows count.
    """
    source = sql.SQL("({}) r").format(rows) if rows is not None else _named(table)
    for column in file_columns(table):
        query = sql.SQL("SELECT DISTINCT r.{column}::text FROM {source} WHERE r.{column} <> ''")
        with connection.cursor() as cursor:
            for (name,) in cursor.stream(
                query.format(column=sql.Identifier(column), source=source)
            ):
                yield name


def missing_files(names: Iterable[str]) -> list[str]:
    """Return those of the names that no uploaded file has, sorted; unsafe names among them."""
    storage = storages["default"]
    return sorted(name for name in set(names) if not (is_safe(name) and _is_there(storage, name)))


def restore_files(names: Iterable[str], progress: Progress) -> tuple[list[str], list[str]]:
    """Bring back the files of these names that are missing, from the newest backup that has them.

    Returns what was brought back and what is still missing, each sorted. A backup that is damaged
    or can't be opened here is passed over, and `progress` is told. Raises CancelledError.
    """
    missing = missing_files(names)
    wanted = {name for name in missing if is_safe(name)}
    restored: list[str] = []
    if wanted:
        own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
        for backup in own.of_kind(BackupKind.MEDIA).newest_first():
            try:
                restored += _from(backup, wanted, progress)
            except CancelledError:
                raise
            except OpsError as error:
                progress.say(f"No file could be taken from {backup.name}: {error}")
            wanted.difference_update(restored)
            if not wanted:
                break
    return sorted(restored), sorted(set(missing) - set(restored))


def is_safe(name: str) -> bool:
    """Tell whether a name stays below the folder of uploaded files, in any storage."""
    return is_restorable(name) and "\\" not in name and name.isprintable()


def _from(backup: Backup, wanted: Collection[str], progress: Progress) -> list[str]:
    vault = Vault.of(backup.storage)
    manifest = read_manifest(backup.name, vault)
    choices = Choices(listed=frozenset(wanted), only_missing=True)
    with scratch() as lent:
        folders = Folders(lent.folder / "unpacked", lent.folder / "kept")
        for folder in (folders.unpacked, folders.kept):
            folder.mkdir(mode=0o700)
        place = place_of(storages["default"])
        return list(restore_media(manifest, vault, place, choices, folders, progress).written)


def _is_there(storage: Storage, name: str) -> bool:
    return bool(storage.exists(name))


def _named(table: str) -> sql.Composable:
    return sql.SQL("{} r").format(sql.Identifier(*table.split(".", 1)))
