"""Which backups stay and which go, each with its reason: pure, no database, no storage, no clock.

The rules are the plan's; what they would delete stays all the same when it is pinned, young, the
last that is proven, needed by another, being worked on, or dated in the future. A chain (a base
and everything that adds to it) stays or goes as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from ops.backups.plan import Keep, KindPlan, Plan
from ops.models import BackupKind, BackupState
from ops.models.backups import GOOD

# Clocks differ by seconds. By more, one of them is wrong.
_CLOCKS_DIFFER = timedelta(minutes=10)
_BUCKETS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda moment: moment.strftime("hour %Y-%m-%d %H:00"),
    "daily": lambda moment: moment.strftime("day %Y-%m-%d"),
    "weekly": lambda moment: moment.strftime("week %G-%V"),
    "monthly": lambda moment: moment.strftime("month %Y-%m"),
    "yearly": lambda moment: moment.strftime("year %Y"),
}


@dataclass(frozen=True)
class Entry:
    """What the rules need to know about a backup, in the storage or its off-site copy."""

    id: int
    name: str
    kind: str
    state: str
    taken_at: datetime
    parent: int | None = None
    pinned: str = ""  # the reason
    state_since: datetime | None = None
    needed: str = ""  # why it is needed right now, such as a run that works on it


def decide(entries: Iterable[Entry], wanted: Plan, now: datetime) -> dict[int, tuple[bool, str]]:
    """Return, by id, whether each backup stays and why."""
    every = list(entries)
    judge = _Judge(every, wanted, now)
    return {entry.id: judge.verdict(entry) for entry in every}


class _Judge:
    """One history and the rules that apply to it."""

    def __init__(self, entries: list[Entry], wanted: Plan, now: datetime) -> None:
        self._plan, self._now = wanted, now
        self._good = [
            entry
            for entry in entries
            if entry.state in GOOD and entry.kind != BackupKind.FOREIGN and not self._early(entry)
        ]
        self._newer: dict[int, int] = {}
        self._holders: dict[tuple[str, str], Entry] = {}
        self._by_rule = self._rules()
        self._last = self._last_ones()
        self._chains = _chains(entries)
        self._own = {entry.id: self._on_its_own(entry) for entry in entries}

    def verdict(self, entry: Entry) -> tuple[bool, str]:
        """Return whether a backup stays, alone or for the sake of its chain."""
        keep, reason = self._own[entry.id]
        if keep:
            return keep, reason
        for other in self._chains[entry.id]:
            kept, why = self._own[other.id]
            if kept:
                return True, f"its chain is needed: {other.name} stays ({why})"
        return keep, reason

    def _on_its_own(self, entry: Entry) -> tuple[bool, str]:
        if entry.kind == BackupKind.FOREIGN and entry.state != BackupState.MISSING:
            return True, "it is not ours; whoever made it deletes it"
        if entry.pinned:
            return True, f"pinned ({entry.pinned})"
        if entry.needed:
            return True, entry.needed
        if entry.state not in GOOD:
            return self._broken(entry)
        if self._early(entry):
            return True, f"it is dated {entry.taken_at:%Y-%m-%d %H:%M} UTC, in the future"
        if rule := self._by_rule.get(entry.id):
            return True, rule
        if last := self._last.get(entry.id):
            return True, last
        minimum = self._of(entry).minimum_age
        if self._now - entry.taken_at < minimum:
            return True, f"it is younger than {_span(minimum)}"
        return False, self._why_deleted(entry)

    def _broken(self, entry: Entry) -> tuple[bool, str]:
        since = entry.state_since or entry.taken_at
        after = self._plan.failed_after
        if self._now - since < after:
            return True, f"{entry.state} since {since:%Y-%m-%d}; shown for {_span(after)}"
        return False, f"{entry.state} since {since:%Y-%m-%d}, more than {_span(after)} ago"

    def _rules(self) -> dict[int, str]:
        """Return, for what a rule keeps, the first rule that does."""
        found: dict[int, str] = {}
        for kind, entries in _by_kind(self._good).items():
            newest_first = sorted(entries, key=_age, reverse=True)
            self._newer |= {entry.id: number for number, entry in enumerate(newest_first)}
            for rule in fields(Keep):
                wanted: int = getattr(self._plan.of(kind).keep, rule.name)
                seen: dict[str, Entry] = {}
                for entry in newest_first:
                    bucket = _BUCKETS[rule.name](entry.taken_at.astimezone(UTC))
                    if bucket not in seen and len(seen) < wanted:
                        seen[bucket] = entry
                for bucket, entry in seen.items():
                    self._holders[kind, bucket] = entry
                    found.setdefault(entry.id, f"newest of {bucket}")
        return found

    def _last_ones(self) -> dict[int, str]:
        """Return what stays whatever the plan says: of each kind the last, and the last proven."""
        found: dict[int, str] = {}
        for entries in _by_kind(self._good).values():
            newest = max(entries, key=_age)
            found[newest.id] = "the last one taken"
            proven = [entry for entry in entries if entry.state == BackupState.PROVEN]
            verified = [entry for entry in entries if entry.state == BackupState.VERIFIED]
            if proven:
                found[max(proven, key=_age).id] = "the last one proven"
            elif verified:
                found[max(verified, key=_age).id] = "the last one verified; none is proven"
        return found

    def _why_deleted(self, entry: Entry) -> str:
        keep, moment = self._of(entry).keep, entry.taken_at.astimezone(UTC)
        for rule in fields(Keep):
            bucket = _BUCKETS[rule.name](moment)
            holder = self._holders.get((entry.kind, bucket)) if getattr(keep, rule.name) else None
            if holder is not None:
                return f"{bucket} has a newer one, {holder.name}"
        newer = self._newer[entry.id]
        return (
            f"older than every rule keeps; {newer} newer one{'' if newer == 1 else 's'} of its kind"
        )

    def _early(self, entry: Entry) -> bool:
        return entry.taken_at > self._now + _CLOCKS_DIFFER

    def _of(self, entry: Entry) -> KindPlan:
        return self._plan.of(entry.kind)


def _chains(entries: list[Entry]) -> dict[int, list[Entry]]:
    """Return, by id, every backup that hangs together with it; a lonely one is its own chain."""
    known = {entry.id: entry for entry in entries}

    def root(entry: Entry) -> int:
        seen = set()
        while entry.parent in known and entry.id not in seen:
            seen.add(entry.id)
            entry = known[entry.parent]
        return entry.id

    members: dict[int, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=_age, reverse=True):
        members[root(entry)].append(entry)
    return {entry.id: chain for chain in members.values() for entry in chain}


def _by_kind(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.kind].append(entry)
    return found


def _age(entry: Entry) -> tuple[datetime, int]:
    return entry.taken_at, entry.id


def _span(length: timedelta) -> str:
    if length >= timedelta(days=1):
        return f"{length.days} day{'' if length.days == 1 else 's'}"
    hours = length // timedelta(hours=1)
    return (
        f"{hours} hour{'' if hours == 1 else 's'}" if hours else f"{length.seconds // 60} minutes"
    )
