"""Uploaded files that recovered rows name: what of them is missing comes from a backup of media.

Nothing that is there is ever overwritten. A file counts once the whole backup it came from was
read and is what its manifest says.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage, storages
from psycopg import sql

from ops.backups.inspection import read_manifest, receive_from
from ops.backups.scratch import scratch
from ops.backups.tarreading import TarReading
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Connection
from ops.progress import CancelledError, Progress

_LONGEST = 4_096  # characters of a name; longer ones are no file's


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
    """Tell whether a name stays below the folder of uploaded files."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and len(name) <= _LONGEST
        and not name.startswith("/")
        and str(PurePosixPath(name)) == name
        and ".." not in parts
        and "\\" not in name
        and name.isprintable()
    )


class _Arrived(File[bytes]):
    """A file that a storage may move into its place."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path.open("rb"), name=name)
        self._path = path

    def temporary_file_path(self) -> str:
        """Tell where it is."""
        return str(self._path)


class _Wanted(TarReading):
    """Unpacks the wanted members of a tar alone, under numbers: their names lead nowhere."""

    def __init__(self, into: Path, wanted: Collection[str]) -> None:
        self.found: dict[str, Path] = {}
        self._wanted, self._folder = wanted, into
        super().__init__()

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        file = archive.extractfile(member) if member.isfile() else None
        if file is None or member.name not in self._wanted:
            return
        place = self.found.setdefault(member.name, self._folder / f"{len(self.found)}")
        with file, place.open("wb") as target:
            while data := file.read(1 << 20):
                target.write(data)
        place.chmod(0o600)


def _from(backup: Backup, wanted: Collection[str], progress: Progress) -> list[str]:
    vault = Vault.of(backup.storage)
    stored = read_manifest(backup.name, vault).archive
    progress.phase(f"reading {backup.name} for {len(wanted):,} files", stored.size, "bytes")
    storage, brought = storages["default"], []
    with scratch() as place:
        folder = place.folder / "files"
        folder.mkdir(mode=0o700)
        with _Wanted(folder, wanted) as reading:
            receive_from(vault, stored, reading, progress)
            reading.finish(stored.name)
        for name, path in sorted(reading.found.items()):
            progress.check()
            with _Arrived(path, name) as file:
                if not _is_there(storage, name):
                    saved = storage.save(name, file)
                    if saved != name:  # somebody uploaded one of that name just now
                        storage.delete(saved)
                    brought.append(name)
    return brought


def _is_there(storage: Storage, name: str) -> bool:
    return bool(storage.exists(name))


def _named(table: str) -> sql.Composable:
    return sql.SQL("{} r").format(sql.Identifier(*table.split(".", 1)))
