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


@dataclass(frozen=True)
class Comparison:
    """Times of two contenders in rounds in which they took turns, in seconds."""

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios.

        Both halves of a round share the machine's mood, so this stands still where the ratio of
        two medians wanders with the load.
        """
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def as_result(self, name: str, peer: str, *, at_most: float) -> Result:
        """The claim that ours takes at most so many times the peer's time."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return Result(
            name, peer, _milliseconds(ours), _milliseconds(theirs), self.ratio, f"<= {at_most}"
        )


def compare(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Comparison:
    """Let two contenders take turns; each returns its own time in seconds.

    Who goes first alternates, so that neither always runs on caches that the other has warmed;
    the first two rounds are thrown away.
    """
    times: tuple[list[float], list[float]] = ([], [])
    contenders = (ours, theirs)
    for turn in range(rounds + 2):
        for position in (0, 1) if turn % 2 else (1, 0):
            elapsed = contenders[position]()
            if turn >= 2:
                times[position].append(elapsed)
    return Comparison(*times)


def timed(work: Callable[[], object]) -> float:
    """How long work takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
