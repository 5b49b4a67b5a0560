"""The disks that the database and its backups fill, as far as they are this machine's."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.files.storage import FileSystemStorage

from ops.backups.vault import Vault
from ops.health.context import within
from ops.health.contract import BlindError
from ops.postgres.endpoint import Connection
from ops.postgres.places import server_home

# A disk that works answers in a millisecond; a hung one never.
_SECONDS = 2.0


@dataclass(frozen=True)
class Place:
    """A folder of ours."""

    what: str  # for people: "the database"
    path: str


@dataclass(frozen=True)
class Disk:
    """A file system with folders of ours on it. Sizes are in bytes."""

    places: tuple[Place, ...]
    device: int
    total: int
    free: int  # for others than root
    files: int  # there is room for so many; 0: any number
    files_free: int
    read_only: bool

    @property
    def path(self) -> str:
        """The folder it is known by."""
        return self.places[0].path

    @property
    def holds(self) -> str:
        """What is on it, for people: "the database and backups"."""
        whats = list(dict.fromkeys(place.what for place in self.places))
        return " and ".join([", ".join(whats[:-1]), whats[-1]] if len(whats) > 1 else whats)


def places(connection: Connection) -> Iterator[Place]:
    """Yield the folders of ours that are on this machine: of a server elsewhere, its backups'."""
    if is_here(connection):
        yield from _of_the_server(connection)
    for what, vault in (("backups", Vault.primary()), ("copies of backups", Vault.second())):
        if vault is not None and isinstance(vault.storage, FileSystemStorage):
            yield Place(what, str(vault.storage.location))


def data_is_seen(connection: Connection) -> bool:
    """Whether the folder of a server on this machine is known; of one elsewhere nothing is."""
    return not is_here(connection) or bool(_data_directory(connection))


def disk_of(place: Place) -> Disk | None:
    """Return the disk of a folder, or None when the folder is not there or closed to us.

    Raises BlindError when the disk does not answer.
    """
    try:
        return within(_SECONDS, lambda: _look(place), f"The disk of {place.path}")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise BlindError(f"The disk of {place.path} gave an error ({error.strerror}).") from None


def merged(disks: list[Disk]) -> list[Disk]:
    """Return each disk once, with all that is on it, in the order in which they were given."""
    found: dict[int, Disk] = {}
    for disk in disks:
        known = found.get(disk.device)
        found[disk.device] = replace(known, places=(*known.places, *disk.places)) if known else disk
    return list(found.values())


def is_here(connection: Connection) -> bool:
    """Whether the server is on this machine, as far as its address tells."""
    return is_local(connection.info.host, connection.info.hostaddr)


def is_local(host: str, address: str) -> bool:
    """Whether an address is a unix socket's folder or leads back to this machine."""
    if not host or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(address or host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_the_server(connection: Connection) -> Iterator[Place]:
    folder = _data_directory(connection)
    if not folder:
        return
    yield Place("the database", folder)
    # Often a disk of its own.
    wal = Path(folder) / "pg_wal"
    if os.path.islink(wal):  # noqa: PTH114 (pathlib fails on a folder that may not be entered)
        yield Place("WAL", str(wal))
    rows = connection.execute(
        "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace"
        " WHERE spcname NOT IN ('pg_default', 'pg_global')"
    ).fetchall()
    yield from (Place(f"the tablespace {name}", location) for name, location in rows if location)


def _data_directory(connection: Connection) -> str:
    """Where the data is; "" when the login may not know, and it is no server of ours."""
    try:
        row = connection.execute(
            "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = None
    if row:
        return str(row[0])
    return str(server_home(settings.VAR_DIR / "postgres")) if settings.EMBEDDED_POSTGRES else ""


def _look(place: Place) -> Disk:
    found = os.statvfs(place.path)
    return Disk(
        places=(place,),
        device=Path(place.path).stat().st_dev,
        # What root keeps to itself is nobody's room.
        total=(found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        files=found.f_files,
        files_free=found.f_favail,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )
