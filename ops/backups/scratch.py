"""A private PostgreSQL to restore into, thrown away afterwards.

It listens on a socket of its own, trusts nothing to survive, and dies with whoever made it: ended
in order, interrupted, or killed outright. What a killed one leaves on the disk goes when the next
is made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psycopg
from django.conf import settings

from ops.backups.errors import BackupError
from ops.postgres import configuration
from ops.postgres.account import Account, server_account
from ops.postgres.cluster import ROOM_FOR_A_CLUSTER
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Connection
from ops.postgres.places import server_home

# Rows, indexes and what sorting them takes, against the bytes of a dump: twice on ours.
FACTOR = 2.5
_LOCK = "owner.lock"
_PREFIX = "scratch-"
_SETTINGS: Mapping[str, str] = {
    **configuration.THROW_AWAY,
    "max_wal_size": "512MB",  # nobody will read it
    "autovacuum": "off",
    "summarize_wal": "off",
    "event_triggers": "off",  # those of the restored database are compared, not obeyed
}


class Scratch:
    """A folder of our own, and a server in it once one is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "postgres"
        self._server: EmbeddedServer | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> EmbeddedServer:
        """The server, made and started by the first who asks."""
        if self._server is None:
            self._server = EmbeddedServer(self.data, settings=_SETTINGS)
            self._start()
        return self._server

    def adopt(self) -> EmbeddedServer:
        """Start the server on the data directory that somebody has put at `data`."""
        self._server = EmbeddedServer(self.data, settings=_SETTINGS)
        self._start()
        return self._server

    def connect(self, database: str = "postgres") -> Connection:
        """Connect as the superuser, in autocommit mode."""
        arguments: dict[str, Any] = {**self.server.connection, "dbname": database}
        return psycopg.connect(**arguments, autocommit=True, application_name="srvc scratch")

    @property
    def account(self) -> Account | None:
        """The system's user that the server runs as; None means as ourselves."""
        return server_account(server_home(self.data))

    def require_room(self, size: int) -> None:
        """Refuse when so many bytes, and a server, do not fit on the disk. Raises BackupError."""
        home = server_home(self.data)
        while not home.exists():
            home = home.parent
        free = shutil.disk_usage(home).free
        needed = size + ROOM_FOR_A_CLUSTER
        if free < needed:
            raise BackupError(
                f"The disk of {home} has {free:,} bytes free; restoring this backup there to look "
                f"at it takes about {needed:,}. Nothing was restored. Free some, or do it on "
                "another machine."
            )

    def stop(self) -> None:
        """End the server and remove its data; the folder stays."""
        if self._server is not None:
            self._server.destroy()
            self._server = None
        self._release_guard()

    def _start(self) -> None:
        assert self._server is not None
        self._server.start()
        self._release_guard()
        pid = int((self._server.home / "postmaster.pid").read_text().split("\n", 1)[0])
        # Its input ends with our life, however that ends.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -QUIT "$1"', "srvc-scratch-guard", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Lend a scratch, and destroy it on every way out. Raises BackupError."""
    base = settings.VAR_DIR / "scratch"
    try:
        base.mkdir(parents=True, exist_ok=True)
        remove_left_overs(base)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    except OSError as error:
        raise BackupError(
            f"There is no room to restore into: {base} can't be used ({error.strerror}). Nothing "
            "was restored. Make it a folder that this user may write to."
        ) from None
    folder.chmod(0o711)  # started by root, the server runs as a user who must pass through
    with _held(folder):
        found = Scratch(folder)
        try:
            yield found
        finally:
            with suppress(Exception):  # the next one removes what this one could not
                found.stop()
            _remove(folder)


def remove_left_overs(base: Path) -> None:
    """Remove what killed processes left: their locks are free."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)


def _remove(folder: Path) -> None:
    with suppress(Exception):
        EmbeddedServer(folder / "postgres").destroy()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[IO[str]]:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
