"""Asking for the database's name on a terminal, while a task that can be cancelled waits."""

from __future__ import annotations

import select
import sys
from typing import IO

from ops.progress import Progress

_LOOK_EVERY = 0.2  # seconds between two looks at whether to stop


def is_confirmed(err: IO[str], database: str, progress: Progress) -> bool:
    """Have the database's name typed; whether it was. Raises CancelledError."""
    err.write(f"Type the name of the database ({database}) to go on: ")
    err.flush()
    # Not input(): while it waits, nobody asks whether to stop.
    while not select.select([sys.stdin], [], [], _LOOK_EVERY)[0]:
        progress.check()
    return sys.stdin.readline().strip() == database
