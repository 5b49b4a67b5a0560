"""What a benchmark found."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One claim: what was measured, against whom, and the bar that it has to meet."""

    name: str
    peer: str
    ours: str
    theirs: str
    measured: float  # a ratio, unless the name says otherwise
    wanted: str  # such as "<= 1.3"

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        comparison, _, bound = self.wanted.partition(" ")
        limit = float(bound)
        return {
            "<=": self.measured <= limit,
            "<": self.measured < limit,
            ">=": self.measured >= limit,
            ">": self.measured > limit,
        }[comparison]

    def as_json(self) -> dict[str, Any]:
        """The result for programs."""
        return {**asdict(self), "met": self.met}


def slower(name: str, peer: str, ours: float, theirs: float, *, at_most: float) -> Result:
    """A claim about times in seconds: ours takes at most so many times the peer's."""
    return Result(
        name, peer, _milliseconds(ours), _milliseconds(theirs), ours / theirs, f"<= {at_most}"
    )


def medians(rounds: int, *contenders: Callable[[], float]) -> Sequence[float]:
    """The median time of each contender over rounds in which they take turns, in seconds.

    Each returns its own time. Turns alternate who goes first, so that neither always runs on
    caches that the other has warmed; a first round is thrown away.
    """
    times: list[list[float]] = [[] for _ in contenders]
    order = list(range(len(contenders)))
    for turn in range(rounds + 1):
        for position in order if turn % 2 else reversed(order):
            elapsed = contenders[position]()
            if turn:
                times[position].append(elapsed)
    return [statistics.median(each) for each in times]


def timed(work: Callable[[], object]) -> float:
    """How long work takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
