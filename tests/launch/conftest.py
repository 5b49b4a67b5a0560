"""Runs the launcher as `make run` does, in an environment of the test's own."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srvc.environment import BASE_DIR
from tests.harness import run

_OWN = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_REPLICATION_URL",
    "SECRET_KEY",
    "BACKUP_SIGNING_KEY",
    "DEMO_PASSWORD",
    "DEBUG",
    "SRVC_ENV",
)


class Launch:
    """One run of the launcher and everything it printed so far."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "srvc.launch", *arguments],
            cwd=BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said += line

    def wait_for(self, text: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            if ended or time.monotonic() > deadline:
                pytest.fail(f"the launcher never said {text!r}; it said:\n{self.said}")
            time.sleep(0.05)

    def wait(self, seconds: float = 60) -> int:
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()


class Installation:
    """A folder of its own for everything the launcher writes, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ".env"
        self.var = folder / "var"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.launches: list[Launch] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def environment(self, **changes: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in {*_OWN, run.VARIABLE, "DJANGO_SETTINGS_MODULE"}
        }
        return {
            **inherited,
            "SRVC_ENV_FILE": str(self.file),
            "SRVC_VAR": str(self.var),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "PYTHONUNBUFFERED": "1",
            **changes,
        }

    def launch(self, *arguments: str, **changes: str) -> Launch:
        started = Launch(self.environment(**changes), *arguments)
        self.launches.append(started)
        return started

    def pid_of(self, name: str) -> int:
        """Return the process id in one of the pid files."""
        import json

        return int(json.loads((self.var / "run" / f"{name}.pid").read_text())["pid"])


@pytest.fixture
def installation(scratch: Path) -> Iterator[Installation]:
    from ops.postgres.embedded import EmbeddedServer
    from srvc.launch.children import stop_orphans

    made = Installation(scratch)
    yield made
    for launch in made.launches:
        if launch.process.poll() is None:
            launch.process.kill()
            launch.wait()
    stop_orphans(made.var / "run", print)
    EmbeddedServer(made.var / "postgres").destroy()
