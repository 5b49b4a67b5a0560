"""A bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich import progress as bars
from rich.console import Console

_LINE_EVERY_SECONDS = 5


class Shown(Protocol):
    """Progress that can tell how many rows there were."""

    rows: int

    def advance(self, rows: int) -> None:
        """So many more rows are written."""


class _Bar:
    def __init__(self, progress: bars.Progress, task: bars.TaskID) -> None:
        self._progress, self._task, self.rows = progress, task, 0

    def advance(self, rows: int) -> None:
        self.rows += rows
        self._progress.advance(self._task, rows)


class _Lines:
    def __init__(self, out: Any, label: str, total: int) -> None:
        self._out, self._label, self._total, self.rows = out, label, total, 0
        self._began = self._said = time.monotonic()

    def advance(self, rows: int) -> None:
        self.rows += rows
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY_SECONDS:
            self._said = now
            percent = min(99, 100 * self.rows // self._total)
            rate = self.rows / (now - self._began)
            self._out.write(f"{self._label}: {percent} %, {self.rows:,} rows, {rate:,.0f} a second")


@contextmanager
def shown(out: Any, label: str, total: int) -> Iterator[Shown]:
    """Show how far a load of about `total` rows is, on the stream that `out` writes to."""
    if not out.isatty():
        yield _Lines(out, label, total)
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.percentage:>3.0f} %"),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(), transient=True) as progress:
        yield _Bar(progress, progress.add_task(label, total=total))
