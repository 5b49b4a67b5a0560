"""Progress of commands: a bar on a terminal, plain lines in cron, silence for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ops.progress import Counter
from ops.words import duration, size

LINE_EVERY = 30.0  # seconds between two lines of one phase, at least


@contextmanager
def make_progress(stream: IO[str], *, json: bool = False) -> Iterator[Counter]:
    """Show how far a task is on a stream, usually the command's error output.

    With `json` nothing is shown, so that a program reads the outcome alone.
    """
    console = Console(file=stream, highlight=False, soft_wrap=True)
    if json:
        yield Counter()
    elif console.is_terminal and not console.is_dumb_terminal:
        with _Bar(console) as bar:
            yield bar
    else:
        yield Lines(stream)


@contextmanager
def paused(progress: Counter) -> Iterator[None]:
    """Let a block write to the terminal and ask: no bar is drawn over it."""
    if isinstance(progress, _Bar):
        with progress.paused():
            yield
    else:
        yield


def status(progress: Counter, now: float) -> str:
    """Return how much of a phase is done, how fast, and how long the rest will take."""
    done, total = progress.done, progress.total
    if not done and not total:
        return ""
    if progress.unit == "bytes":
        seconds = max(now - progress.phase_began, 0.001)
        parts = [size(done), f"{size(done / seconds)}/s"]
        # A total can be a guess; one that is passed says nothing any more.
        if total and done <= total:
            parts[0] += f" of {size(total)}"
            if done and seconds >= 1:
                parts.append(f"{duration(seconds * (total - done) / done)} left")
        return ", ".join(parts)
    return f"{done:,} of {total:,} {progress.unit}" if total else f"{done:,} {progress.unit}"


class Lines(Counter):
    """A line at each phase, and now and then in a long one."""

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._stream, self._clock = stream, clock
        self._told = clock()

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase and say so."""
        super().phase(name, total, unit)
        self.phase_began = self._told = self._clock()
        self._write(f"{name} …")

    def advance(self, amount: int) -> None:
        """Count, and say how far it is when that was long ago."""
        super().advance(amount)
        now = self._clock()
        with self._lock:
            if now - self._told < LINE_EVERY:
                return
            self._told = now
        self._write(f"{self.name}: {status(self, now)}")

    def say(self, sentence: str) -> None:
        """Write a sentence."""
        self._write(sentence)

    def _write(self, line: str) -> None:
        # A terminal that was closed, or a log on a full disk, must not end a backup. A signal can
        # arrive in the middle of a line: then Python refuses to begin another (RuntimeError).
        with suppress(OSError, ValueError, RuntimeError):
            self._stream.write(f"{line}\n")
            self._stream.flush()


class _Bar(Counter):
    """A bar that moves; without a total it shows that something happens."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        with suppress(OSError):
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._bars.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw nothing within a block."""
        with suppress(OSError):
            self._bars.stop()
        try:
            yield
        finally:
            with suppress(OSError):
                self._bars.start()

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase with an empty bar."""
        super().phase(name, total, unit)
        if self._task is not None:
            with suppress(OSError):
                self._bars.refresh()
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total or None, status="")

    def advance(self, amount: int) -> None:
        """Move the bar."""
        super().advance(amount)
        if self._task is None:
            return
        total = self.total if self.total and self.done <= self.total else None
        now = time.monotonic()
        self._bars.update(self._task, total=total, completed=self.done, status=status(self, now))

    def say(self, sentence: str) -> None:
        """Write a sentence above the bar."""
        with suppress(OSError):
            self._console.print(sentence, markup=False)
