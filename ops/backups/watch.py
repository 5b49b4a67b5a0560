"""Stopping what waits: for a lock, for a program that hangs, for a storage that takes nothing.

Whoever waits can't look whether to go on. A thread looks in its place, and ends what is waited for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ops.postgres.errors import ToolError

log = logging.getLogger(__name__)
_EVERY = 0.25  # seconds
# Between two megabytes. Rows come at once or never: a lock is waited for 30 seconds at most, and a
# statement that has begun a table streams it.
STALLED = 1800.0  # seconds


class Watch:
    """Asks `check` four times a second, and when that raises, calls the stops until the end."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._stops: list[Callable[[], None]] = []
        self._ended = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._look, name="backup-watch", daemon=True)
        self._thread.start()

    def stop_by(self, stop: Callable[[], None]) -> None:
        """Have `stop` called when there is a reason to stop: often, and from another thread."""
        self._stops.append(stop)

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self._check()
            except Exception as error:  # noqa: BLE001 (raised by `watched`)
                self.error = self.error or error
                self._stop()

    def _stop(self) -> None:
        for stop in list(self._stops):
            try:
                stop()
            except Exception:
                log.debug("could not be stopped", exc_info=True)


@contextmanager
def watched(check: Callable[[], None]) -> Iterator[Watch]:
    """Watch over a block; when it fails because it was stopped, the reason to stop is raised."""
    watch = Watch(check)
    try:
        yield watch
    except Exception as error:
        watch.end()
        if watch.error is not None and error is not watch.error:
            raise watch.error from error
        raise
    finally:
        watch.end()


class Flow:
    """When bytes moved last, and who was waited for since."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._moved = clock()
        self._asking = self._over = False

    def asks(self) -> None:
        """The source is asked for bytes."""
        self._moved, self._asking = self._clock(), True

    def moves(self, count: int) -> None:
        """The source has answered; what happens now is up to the storage. 0 bytes is its end."""
        self._moved, self._asking, self._over = self._clock(), False, count == 0

    def check(self) -> None:
        """Raise ToolError when nothing has moved for too long."""
        silent = self._clock() - self._moved
        if self._over or silent < STALLED:
            return
        if self._asking:
            raise ToolError(
                f"{self._source} has said nothing for {silent / 60:.0f} minutes and was stopped. "
                "Nothing that looks like a backup was left. See what it waits for "
                "(pg_stat_activity), and run this again."
            )
        raise ToolError(
            f"The storage has taken nothing for {silent / 60:.0f} minutes, so the dump was "
            "stopped: it would keep the database from cleaning up. Nothing that looks like a "
            "backup was left. Check the storage and run this again."
        )
