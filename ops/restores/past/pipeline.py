"""Programs that read what one another writes, the first of them what we write."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from ops.postgres import tools
from ops.postgres.processes import PIPE_BYTES, StreamingProcess


def behind(
    stack: ExitStack,
    before: StreamingProcess,
    program: Path,
    *arguments: str | os.PathLike[str],
    on_line: Callable[[str], None],
) -> StreamingProcess:
    """Start a program that reads what another one writes."""
    found = stack.enter_context(
        StreamingProcess(
            program,
            *arguments,
            environment=tools.environment(),
            stdin=before.stdout,
            on_line=on_line,
        )
    )
    before.stdout.close()  # this one alone has it now, and its end is noticed
    return found


class Input:
    """The first program's input; when it died, the rest of the object is still read and hashed."""

    def __init__(self, feed: IO[bytes]) -> None:
        self._feed: IO[bytes] | None = feed

    def write(self, data: bytes) -> None:
        if self._feed is not None:
            try:
                self._feed.write(data)
            except (BrokenPipeError, ValueError):
                self._feed = None


def pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Return both ends of a pipe, the reading one first."""
    read, write = os.pipe()
    with suppress(OSError):  # the user's share of pipe memory may be used up
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return os.fdopen(read, "rb"), _Closing(write)


class _Closing(io.BufferedWriter):
    """A pipe's end, which is closed without a word when nobody reads at the other one."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "wb"), 1 << 18)

    def close(self) -> None:
        with suppress(BrokenPipeError):
            super().close()
