"""Equal messages told once: how often, from when to when, and how long they took."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ops.health.serverlog.entries import LEVELS, Entry

_MOST = 5_000  # kinds of messages that are told apart
_CONSTANT = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\b[0-9][0-9.:_-]*\b|\b[0-9A-F]+/[0-9A-F]+\b")


@dataclass
class Group:
    """Messages that differ in numbers and names only."""

    level: str
    topic: str
    example: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    milliseconds: float = 0.0  # all of them together
    longest: float = 0.0  # milliseconds

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.count += 1
        if entry.at is not None:
            self.first = min(self.first or entry.at, entry.at)
            self.last = max(self.last or entry.at, entry.at)
        if entry.milliseconds is not None:
            self.milliseconds += entry.milliseconds
            self.longest = max(self.longest, entry.milliseconds)


@dataclass
class Summary:
    """The groups of a log."""

    groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)

    def ordered(self) -> list[Group]:
        """Return the groups, the worst and most frequent first."""
        return sorted(
            self.groups.values(),
            key=lambda each: (-LEVELS.index(each.level), -each.count, each.example),
        )


def summarize(entries: Iterable[Entry]) -> Summary:
    """Return a log's messages in groups; what exceeds a few thousand kinds is one group."""
    found = Summary()
    for entry in entries:
        said = entry.statement if entry.topic == "slow statement" else entry.message
        said = " ".join((said or entry.message).split())
        key = (entry.level, entry.topic, _CONSTANT.sub("?", said))
        if key not in found.groups and len(found.groups) >= _MOST:
            key, said = (entry.level, entry.topic, ""), "(others)"
        found.groups.setdefault(key, Group(entry.level, entry.topic, said)).add(entry)
    return found
