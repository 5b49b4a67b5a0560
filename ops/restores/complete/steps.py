"""What a restore did, step by step: told while it works, kept with the seconds each one took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ops.progress import Progress

# Says how long nothing could be changed, with steps that have a line of their own: no step.
WRITES_CLOSED = "writes closed"


def overlaps(step: dict[str, Any]) -> bool:
    """Whether a line of a restore spans others, so that its time is in theirs already."""
    return step.get("name") == WRITES_CLOSED


def total_seconds(steps: Iterable[dict[str, Any]]) -> float:
    """Return how long the steps of a restore took, each counted once."""
    return float(sum(float(each.get("seconds") or 0) for each in steps if not overlaps(each)))


class Step:
    """One step; what it found is said in half a sentence before it ends."""

    def __init__(self, name: str) -> None:
        self.name, self.found = name, ""


class Steps:
    """The steps so far. `keep` gets all of them, as JSON, whenever one has ended."""

    def __init__(self, progress: Progress, keep: Callable[[list[dict[str, Any]]], None]) -> None:
        self.done: list[dict[str, Any]] = []
        self._progress, self._keep = progress, keep

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step; one that fails is not kept."""
        self._progress.check()
        step, began = Step(name), time.monotonic()
        yield step
        seconds = round(time.monotonic() - began, 3)
        self.done.append({"name": name, "seconds": seconds, "found": step.found})
        self._keep(self.done)

    def seconds(self) -> float:
        """Return how long all of them took."""
        return total_seconds(self.done)
