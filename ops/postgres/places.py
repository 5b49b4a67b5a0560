"""Where the embedded PostgreSQL keeps its things.

Settings compute the socket's address from here without starting anything, so nothing in this file
writes, and the same folder always gives the same answer.
"""

import hashlib
import os
from pathlib import Path

PORT = 5432
# Linux allows 107 bytes in a socket's path and macOS 103; one limit serves both.
LONGEST_SOCKET_PATH = 103
SHORT_PATHS = Path("/tmp")  # noqa: S108  ($TMPDIR differs between shells, the address must not)
SYSTEM_HOME = Path("/var/lib/srvc")
_OTHERS_MAY_PASS = 0o001


def server_home(data_directory: Path) -> Path:
    """Return the folder that really holds the data.

    PostgreSQL refuses to run as root. Started by root it runs as another user, and when that user
    cannot pass through the project's parents the data lives below /var/lib/srvc: opening a private
    home to everybody would be worse.
    """
    data_directory = data_directory.absolute()
    if os.geteuid() != 0 or _passable(data_directory.parent):
        return data_directory
    if (data_directory / "PG_VERSION").exists():  # made by the project's own user, who can reach it
        return data_directory
    return SYSTEM_HOME / _digest(data_directory) / "postgres"


def socket_directory(data_directory: Path) -> Path:
    """Return the folder of the server's unix socket: the HOST of a database address."""
    home = server_home(data_directory)
    beside = home.with_name(f"{home.name}-run")
    if len(os.fsencode(socket_path(beside))) <= LONGEST_SOCKET_PATH:
        return beside
    return SHORT_PATHS / f"srvc-{_digest(home)}"


def socket_path(directory: Path) -> Path:
    """Return the socket itself, as libpq names it inside its folder."""
    return directory / f".s.PGSQL.{PORT}"


def log_directory(data_directory: Path) -> Path:
    """Return the folder of the server's logs, outside the data so that backups do not carry it."""
    home = server_home(data_directory)
    return home.with_name(f"{home.name}-log")


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _passable(folder: Path) -> bool:
    """Tell whether any user may pass through this folder and its parents (missing ones will be)."""
    for step in (folder, *folder.parents):
        try:
            mode = step.stat().st_mode
        except FileNotFoundError:
            continue
        if not mode & _OTHERS_MAY_PASS:
            return False
    return True
