"""pg_receivewal, run and run again: it writes what the server sends into a folder.

It ends with each lost connection and is started anew, after longer and longer pauses. Segments it
has closed are moved to another folder, so that where it goes on is the slot's to say.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from ops.backups.wal.names import is_history, is_segment
from ops.backups.wal.slot import SLOT
from ops.errors import OpsError
from ops.postgres.endpoint import Endpoint
from ops.postgres.processes import StreamingProcess

_PROGRAM = "pg_receivewal"
_CALM = 60.0  # seconds after which a failure counts as the first one again
_LONGEST_PAUSE = 60.0
# A server that vanished without a word is noticed within a minute.
_ALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


class Fetcher:
    """Keeps pg_receivewal running on a folder."""

    def __init__(
        self, replication: Endpoint, folder: Path, closed: Path, say: Callable[[str], None]
    ) -> None:
        self._endpoint = replace(replication, options={**replication.options, **_ALIVE})
        self.folder, self._closed, self._say = folder, closed, say
        self._process: StreamingProcess | None = None
        self._began = 0.0
        self._failures = 0
        self._due = 0.0
        self.pause = 0.0  # seconds between its last end and the next start

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def is_due(self) -> bool:
        """Whether it does not run and may be started."""
        return self._process is None and time.monotonic() >= self._due

    def start(self) -> None:
        """Start it. Raises OpsError when there is no such program or the server is away."""
        self._began = time.monotonic()
        try:
            self._process = StreamingProcess(
                self._endpoint.program(_PROGRAM),
                *self._endpoint.arguments(),
                "--no-password",
                f"--slot={SLOT}",
                "--synchronous",
                "--no-loop",
                f"--directory={self.folder}",
                environment=self._endpoint.environment(),
            )
        except OpsError:
            self.postpone()
            raise

    def look(self) -> str | None:
        """Return its last words once it has ended; None while it runs, or waits to be started."""
        if self._process is None or self._process.poll() is None:
            return None
        process, self._process = self._process, None
        process.kill()
        if time.monotonic() - self._began > _CALM:
            self._failures = 0
        self.postpone()
        return process.last_words()

    def collect(self) -> None:
        """Move what it has closed. A segment that is fetched a second time replaces the first."""
        for path in sorted(self.folder.iterdir()):
            if is_segment(path.name) or is_history(path.name):
                path.replace(self._closed / path.name)

    def begin_anew(self) -> None:
        """Forget the segment it had begun: what follows it on the server is gone."""
        self.stop()
        for path in self.folder.glob("*.partial"):
            path.unlink()

    def stop(self) -> None:
        """End it, having written what it had received."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop_orphan(self) -> None:
        """End the one that a killed receiver left on this folder, so that the slot is free."""
        wanted = f"--directory={self.folder}"
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] != _PROGRAM or wanted not in (process.info["cmdline"] or []):
                continue
            self._say(f"stopping the {_PROGRAM} that a killed receiver left ({process.pid})")
            with suppress(psutil.Error, ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
                process.wait(10)

    def postpone(self) -> None:
        """Wait before it is started, longer each time in a row."""
        self._failures += 1
        self.pause = min(2.0 ** (self._failures - 1), _LONGEST_PAUSE)
        self._due = time.monotonic() + self.pause
