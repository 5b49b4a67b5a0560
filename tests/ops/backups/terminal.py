"""A terminal that a test reads."""

from __future__ import annotations

import os
import pty
import select
from types import TracebackType
from typing import Self


class Terminal:
    """A pseudo-terminal: programs that ask find a real one."""

    def __enter__(self) -> Self:
        self._master, worker = pty.openpty()
        self.stream = os.fdopen(worker, "w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stream.close()
        os.close(self._master)

    def type(self, line: str) -> None:
        """Type a line, as somebody who was asked."""
        os.write(self._master, f"{line}\n".encode())

    def text(self) -> str:
        """What has been shown so far."""
        self.stream.flush()
        seen = b""
        while select.select([self._master], [], [], 0)[0]:
            seen += os.read(self._master, 65536)
        return seen.decode(errors="replace")
