"""Web server, workers, WAL receiver and health watcher: started, watched, stopped in order."""

import http.client
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ops.errors import OpsError
from ops.postgres.embedded import EmbeddedServer
from srvc.environment import BASE_DIR
from srvc.launch.address import Address
from srvc.launch.children import Child
from srvc.launch.errors import LaunchError, StopRequestedError

_READY_SECONDS = 60.0
_LOOK_EVERY = 0.5
_LOOK_AT_DATABASE_EVERY = 5.0


class Site:
    """SRVC as it is served: web server, workers and, where it is ours, the database."""

    def __init__(
        self,
        address: Address,
        folder: Path,
        server: EmbeddedServer | None,
        say: Callable[[str], None],
    ) -> None:
        self._address = address
        self._server = server
        self._say = say
        self.web = Child("web server", _web_command(address), folder, seconds_to_stop=15)
        # A task gets this long to finish; one that is cut off is found again by the queue.
        self.workers = [
            Child("worker", _worker_command("default"), folder, seconds_to_stop=30),
            # It drops what it does when it is asked to stop, and needs the time to clean up.
            Child("operations worker", _worker_command("operations"), folder, seconds_to_stop=30),
        ]
        self.receiver = Child("WAL receiver", _receiver_command(), folder, seconds_to_stop=15)
        self.watcher = Child("health watcher", _watcher_command(), folder, seconds_to_stop=15)
        self.first_backup = Child(
            "first backup", _first_backup_command(), folder, seconds_to_stop=15
        )

    def start(self) -> None:
        """Start the processes and return when the web server answers."""
        self.web.start()
        for worker in self.workers:
            worker.start()
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(self._address):
            if not self.web.is_alive or time.monotonic() > deadline:
                raise LaunchError(
                    "The web server did not come up; its own words stand above. No data was lost. "
                    "Mend what they name and run this again."
                )
            time.sleep(0.05)
        if _has_wal(self._say):
            self.receiver.start()
        # Last: what it looks at first of all takes a second that whoever waits for the site has
        # better use for.
        self.watcher.start()

    def take_first_backup(self) -> None:
        """Start taking one, beside everything else."""
        self.first_backup.start()

    def watch(self, until_parent_dies: int | None) -> None:
        """Keep everything running until somebody asks to stop."""
        looked = time.monotonic()
        while True:
            time.sleep(_LOOK_EVERY)
            if until_parent_dies is not None and os.getppid() != until_parent_dies:
                self._say("make is gone; stopping")
                raise StopRequestedError
            for child in (self.web, *self.workers, self.receiver, self.watcher):
                child.watch(self._say)
            self.first_backup.forget()
            if self._server and time.monotonic() - looked > _LOOK_AT_DATABASE_EVERY:
                looked = time.monotonic()
                if not self._server.is_running():
                    self._say("PostgreSQL stopped unexpectedly; starting it again")
                    self._server.start()

    def stop(self) -> None:
        """Stop the web server, then the workers, then what archives what they wrote."""
        # Nobody is to be told of what stops now because somebody stopped it.
        self.watcher.ask_to_stop()
        self.first_backup.stop()
        self.web.stop()
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.stop()
        self.watcher.stop()
        self.receiver.stop()


def _web_command(address: Address) -> list[str]:
    workers = os.environ.get("WEB_CONCURRENCY") or str(min(4, os.cpu_count() or 1))
    return [
        sys.executable, "-m", "gunicorn", "srvc.wsgi:application",
        "--bind", address.bind,
        "--worker-class", "gthread",
        "--workers", workers,
        "--threads", "4",
        "--preload",
        "--timeout", "60",
        "--graceful-timeout", "10",
        "--log-level", "warning",
        "--no-control-socket",
    ]  # fmt: skip


def _worker_command(queue: str) -> list[str]:
    return [
        sys.executable, str(BASE_DIR / "manage.py"), "worker",
        "--queue-name", queue,
        "--no-startup-delay",
        "--verbosity", "0",
    ]  # fmt: skip


def _receiver_command() -> list[str]:
    return [sys.executable, str(BASE_DIR / "manage.py"), "walreceiver", "--verbosity", "0"]


def _watcher_command() -> list[str]:
    return [sys.executable, str(BASE_DIR / "manage.py"), "watch", "--verbosity", "0"]


def _first_backup_command() -> list[str]:
    return [sys.executable, "-m", "srvc.launch.first_backup"]


def _has_wal(say: Callable[[str], None]) -> bool:
    """Tell whether the server's WAL can be archived; where it should be and can't, say why."""
    from django.conf import settings

    from ops.backups.physical import replicating_server

    if not (settings.REPLICATION_URL and settings.BACKUP_SIGNING_KEY):
        return False
    try:
        replicating_server()
    except OpsError as error:
        say(f"WAL is not archived: {error}")
        return False
    return True


def _answers(address: Address) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, address.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
