"""How far a long task is, told to whoever watches: a terminal, a log, a page.

Work reports from any thread; what shows it decides how often. Cancelling goes the other way: the
work asks `check()` at every step it can stop after.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from ops.errors import OpsError


class CancelledError(OpsError):
    """Somebody asked the task to stop; what it had begun is cleaned up."""


class Progress(Protocol):
    """What a task tells while it works."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase of so many units (bytes, tables, files); None when nobody can know."""

    def advance(self, amount: int) -> None:
        """Count units done of the phase. Cheap, and safe from any thread."""

    def say(self, sentence: str) -> None:
        """Tell something that should stay readable afterwards."""

    def check(self) -> None:
        """Raise CancelledError when the task should stop."""


class Counter:
    """The state every kind of progress shares; by itself it shows nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self.name, self.unit = "", ""
        self.total: int | None = None
        self.done = 0
        self.phase_began = time.monotonic()

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase."""
        with self._lock:
            self.name, self.total, self.unit, self.done = name, total, unit, 0
            self.phase_began = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count units done."""
        with self._lock:
            self.done += amount

    def say(self, sentence: str) -> None:
        """Tell nobody."""

    def cancel(self) -> None:
        """Ask the task to stop at its next step."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise CancelledError when the task should stop."""
        if self._cancelled.is_set():
            raise CancelledError("It was cancelled. Nothing of it was kept.")


class Several:
    """Tells several at once; any of them may ask to stop."""

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase."""
        for listener in self._listeners:
            listener.phase(name, total, unit)

    def advance(self, amount: int) -> None:
        """Count units done."""
        for listener in self._listeners:
            listener.advance(amount)

    def say(self, sentence: str) -> None:
        """Tell a sentence."""
        for listener in self._listeners:
            listener.say(sentence)

    def check(self) -> None:
        """Raise CancelledError when one of them was asked to stop."""
        for listener in self._listeners:
            listener.check()
