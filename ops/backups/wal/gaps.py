"""Which moments can be restored, which WAL is missing for the others, and which is of no use.

Pure functions over what the catalogue (or the storage's names alone) says; nothing is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Self

from ops.backups.wal.names import lsn, position
from ops.models import Backup, WalSegment


@dataclass(frozen=True, order=True)
class Piece:
    """A stored segment; `start` and `end` are positions in bytes. A history has neither."""

    system_identifier: str
    timeline: int
    start: int
    end: int
    file: str
    closed_at: datetime

    @classmethod
    def of_row(cls, row: WalSegment) -> Self:
        """Return a catalogue row's piece."""
        start, end = (position(each) if each else 0 for each in (row.start_lsn, row.end_lsn))
        return cls(row.system_identifier, row.timeline, start, end, row.segment, row.closed_at)

    @property
    def is_segment(self) -> bool:
        """Whether it holds WAL; a history tells only where its timeline began."""
        return self.end > self.start


@dataclass(frozen=True)
class Anchor:
    """A base or incremental backup, from which WAL can be replayed."""

    name: str
    system_identifier: str
    timeline: int
    start: int  # first position it needs; its archive holds the WAL up to the segment of `stop`
    stop: int
    moment: datetime  # from which on moments can be restored

    @classmethod
    def of_backup(cls, backup: Backup) -> Self:
        """Return a catalogue row's anchor."""
        manifest: dict[str, Any] = backup.manifest
        told = manifest["details"].get("whole_at") or manifest["finished_at"]
        return cls(
            name=backup.name,
            system_identifier=str(manifest["server"]["system_identifier"]),
            timeline=int(manifest["wal"]["timeline"]),
            start=position(manifest["wal"]["start_lsn"]),
            stop=position(manifest["wal"]["stop_lsn"]),
            moment=datetime.fromisoformat(told),
        )


@dataclass(frozen=True)
class Gap:
    """Segments that are missing between two that are there."""

    system_identifier: str
    timeline: int
    start: int
    end: int
    segments: int
    since: datetime  # when the last one before it was closed
    until: datetime  # when the first one after it was closed

    def __str__(self) -> str:
        many = "1 segment is" if self.segments == 1 else f"{self.segments:,} segments are"
        return (
            f"{many} missing from the WAL archive, {lsn(self.start)} to {lsn(self.end)} of "
            f"timeline {self.timeline}, closed between {self.since:%Y-%m-%d %H:%M:%S} and "
            f"{self.until:%Y-%m-%d %H:%M:%S} UTC"
        )


@dataclass(frozen=True)
class Window:
    """Moments that can be restored, all of them from `start_time` to `end_time`."""

    start_time: datetime
    end_time: datetime
    base: str  # the backup its first moment is restored from
    backups: tuple[str, ...]  # every backup that a moment in it can be restored from
    reason: str  # why it ends there; empty while WAL goes on being stored

    @property
    def is_moment(self) -> bool:
        """Whether it is a backup alone, without the WAL to go on from there."""
        return self.start_time == self.end_time


def gaps(pieces: Iterable[Piece]) -> list[Gap]:
    """Return what is missing inside each timeline, in order."""
    found = []
    for timeline in _by_timeline(pieces).values():
        for before, after in pairwise(timeline):
            if after.start > before.end:
                found.append(_gap(before, after))
    return sorted(found, key=lambda gap: (gap.since, gap.timeline, gap.start))


def restorable(anchors: Iterable[Anchor], pieces: Iterable[Piece]) -> list[Window]:
    """Return the moments that can be restored, oldest first, and why each stretch of them ends."""
    every = list(pieces)
    archives = {
        system: _Archive([piece for piece in every if piece.system_identifier == system])
        for system in {piece.system_identifier for piece in every}
    }
    runs: dict[Piece | str, list[Anchor]] = defaultdict(list)
    for anchor in anchors:
        archive = archives.get(anchor.system_identifier)
        reached = archive.last_from(anchor) if archive else None
        runs[reached or anchor.name].append(anchor)
    windows = []
    for last, members in runs.items():
        members.sort(key=lambda anchor: (anchor.moment, anchor.stop))
        end, reason = members[-1].moment, "the WAL after it is not in the archive"
        if isinstance(last, Piece):
            end = max(end, last.closed_at)
            reason = archives[last.system_identifier].why_end(last)
        names = tuple(anchor.name for anchor in members)
        windows.append(Window(members[0].moment, end, names[0], names, reason))
    return sorted(windows, key=lambda window: (window.start_time, window.end_time))


def routes(anchors: Iterable[Anchor], pieces: Iterable[Piece]) -> dict[str, list[Piece]]:
    """Return, by a backup's name, the segments that lead on from it, in order and without a gap."""
    every = list(pieces)
    archives = {
        system: _Archive([piece for piece in every if piece.system_identifier == system])
        for system in {piece.system_identifier for piece in every}
    }
    return {
        anchor.name: archives[anchor.system_identifier].route(anchor)
        if anchor.system_identifier in archives
        else []
        for anchor in anchors
    }


def deletable(
    pieces: Iterable[Piece], kept: Iterable[Anchor], *, closed_before: datetime
) -> list[Piece]:
    """Return the segments that no kept backup can be rolled forward with, oldest first.

    Those are older than the oldest kept backup of their server, or of a server of which none is
    kept. Segments closed at `closed_before` or later stay: a base backup that is being taken right
    now will want them. Histories stay as long as their server has a backup.
    """
    oldest: dict[str, int] = {}
    for anchor in kept:
        start = min(anchor.start, oldest.get(anchor.system_identifier, anchor.start))
        oldest[anchor.system_identifier] = start

    def is_needed(piece: Piece) -> bool:
        needed_from = oldest.get(piece.system_identifier)
        if needed_from is None:
            return False
        return not piece.is_segment or piece.end > needed_from

    return sorted(
        piece for piece in pieces if piece.closed_at < closed_before and not is_needed(piece)
    )


class _Archive:
    """One server's segments: from each of them, how far one gets without a gap."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._timelines = {
            timeline: segments for (_, timeline), segments in _by_timeline(pieces).items()
        }
        self._histories = {piece.timeline for piece in pieces if not piece.is_segment}
        self._size = max((piece.end - piece.start for piece in pieces), default=0)
        self._pieces = {(piece.timeline, piece.start): piece for piece in pieces}
        self._last: dict[tuple[int, int], Piece] = {}
        for timeline in sorted(self._timelines, reverse=True):
            for piece in reversed(self._timelines[timeline]):
                following = self._resolve(timeline, piece.end)
                self._last[timeline, piece.start] = following or piece

    def last_from(self, anchor: Anchor) -> Piece | None:
        """Return the last segment that is reached from a backup, or None when there is none."""
        if not self._size:
            return None
        behind = -(-anchor.stop // self._size) * self._size  # up to here it has the WAL itself
        return self._resolve(anchor.timeline, behind) or self._resolve(
            anchor.timeline, behind - self._size
        )

    def route(self, anchor: Anchor) -> list[Piece]:
        """Return what leads from a backup to the segment that `last_from` tells."""
        if not self._size:
            return []
        behind = -(-anchor.stop // self._size) * self._size
        found: list[Piece] = []
        piece = self._at(anchor.timeline, behind) or self._at(anchor.timeline, behind - self._size)
        while piece is not None:
            found.append(piece)
            piece = self._at(piece.timeline, piece.end)
        return found

    def why_end(self, last: Piece) -> str:
        """Return why nothing follows a segment; empty when nothing was written after it."""
        same = [piece for piece in self._timelines[last.timeline] if piece.start >= last.end]
        if same:
            return str(_gap(last, same[0]))
        later = [timeline for timeline in self._timelines if timeline > last.timeline]
        if not later:
            return ""
        following = min(later)
        if following not in self._histories:
            return f"the history of timeline {following} is missing from the WAL archive"
        first = self._timelines[following][0]
        return str(_gap(last, first)) if first.start > last.end else ""

    def _resolve(self, timeline: int, at: int) -> Piece | None:
        """Return the end of the run that goes on at this position, on the newest timeline."""
        for newer in sorted(self._timelines):
            begins_here = newer > timeline and self._timelines[newer][0].start == at
            if begins_here and newer in self._histories:
                return self._last.get((newer, at))
        return self._last.get((timeline, at))

    def _at(self, timeline: int, at: int) -> Piece | None:
        """Return the segment at this position, on the timeline that `_resolve` goes on with."""
        for newer in sorted(self._timelines):
            first = self._timelines[newer][0]
            if newer > timeline and first.start == at and newer in self._histories:
                return first
        return self._pieces.get((timeline, at))


def _by_timeline(pieces: Iterable[Piece]) -> dict[tuple[str, int], list[Piece]]:
    found: dict[tuple[str, int], list[Piece]] = defaultdict(list)
    for piece in sorted(pieces):
        if piece.is_segment:
            found[piece.system_identifier, piece.timeline].append(piece)
    return found


def _gap(before: Piece, after: Piece) -> Gap:
    return Gap(
        system_identifier=before.system_identifier,
        timeline=after.timeline,
        start=before.end,
        end=after.start,
        segments=(after.start - before.end) // (after.end - after.start),
        since=before.closed_at,
        until=after.closed_at,
    )
