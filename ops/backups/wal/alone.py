"""One receiver an installation: two would take each other's segments away."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ops.backups.errors import BusyError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which dies with its holder. Raises BusyError: who has it."""
    path = folder / "receiver.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{_holder(path)} Nothing was done; one is enough.") from None
        file.truncate(0)
        began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "began": began}, file)
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text())
        return (
            f"Another walreceiver runs since {told['began']} UTC on {told['host']}, process "
            f"{told['pid']}."
        )
    except (OSError, ValueError, KeyError):  # it is being written at this very moment
        return "Another walreceiver has just begun."
