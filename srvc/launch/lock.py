"""One launcher a folder: two at once would start everything twice."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from srvc.launch.errors import LaunchError

STARTING, SERVING, STOPPING = "starting", "serving", "stopping"
# A launcher whose `make` was killed notices within half a second and begins to stop.
_GRACE = 3.0
_LONGEST_WAIT = 120.0


class RunLock:
    """A lock that dies with its holder, and a word about what the holder is doing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "launch.lock"
        self._file: IO[str] | None = None

    def acquire(self, say: Callable[[str], None]) -> None:
        """Take the lock, waiting for a run that is just stopping or starting."""
        file = self._path.open("a+")
        began, serving_since, told = time.monotonic(), None, False
        while not _try_lock(file):
            holder = self._holder()
            now = time.monotonic()
            serving_since = (serving_since or now) if holder.get("state") == SERVING else None
            served = serving_since is not None and now - serving_since > _GRACE
            if served or now - began > _LONGEST_WAIT:
                file.close()
                raise LaunchError(
                    f"SRVC already runs in this folder (process {holder.get('pid', '?')}) at "
                    f"{holder.get('address', 'an unknown address')}. Nothing was started. Use that "
                    "one, or stop it with Ctrl-C in its terminal and run this again."
                )
            if not told and serving_since is None:
                say("waiting for another run in this folder …")
                told = True
            time.sleep(0.2)
        self._file = file

    def tell(self, state: str, address: str) -> None:
        """Record what this run is doing, for another one that finds the lock taken."""
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "state": state, "address": address}))
        self._file.flush()

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _holder(self) -> dict[str, object]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):  # being rewritten at this very moment
            return {}
        return found if isinstance(found, dict) else {}


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
