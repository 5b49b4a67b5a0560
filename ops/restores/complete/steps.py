"""What a restore did, step by step: told while it works, kept with the seconds each one took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ops.progress import Progress


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
        return float(sum(each["seconds"] for each in self.done))
