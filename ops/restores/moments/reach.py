"""Whether a moment can be restored, and from what: asked before anything is begun.

The newest backup that is older than the moment is where recovery begins, and every WAL segment from
there to the moment has to be in the archive. What the server is still writing can be had: it is
asked to close its segment, and the receiver is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from ops.backups.physical import OLDEST_MAJOR
from ops.backups.wal.gaps import Anchor, Piece, restorable, routes
from ops.backups.wal.names import lsn, position
from ops.models import Backup, RestorePoint, WalSegment
from ops.models.backups import PHYSICAL
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError
from ops.progress import Progress
from ops.restores.errors import RefusedError, UnreachableError
from ops.restores.moments.live import Live, Stored, live_server
from ops.restores.moments.targets import Target, TargetKind, told
from ops.runs import OWNER


@dataclass(frozen=True)
class Reach:
    """How a moment is restored."""

    target: Target
    backup: Backup  # a base, or the last link of a chain
    pieces: tuple[Piece, ...]  # the WAL it takes, in order
    timeline: int
    more: tuple[Piece, ...] = ()  # what follows, for when the moment turns out to lie in it
    point: RestorePoint | None = None
    note: str = ""  # what an operator might wonder about, in sentences

    @property
    def segment_bytes(self) -> int:
        """How much room the WAL takes."""
        return sum(piece.end - piece.start for piece in self.pieces)

    def __str__(self) -> str:
        many = "1 WAL segment" if len(self.pieces) == 1 else f"{len(self.pieces):,} WAL segments"
        return f"{self.target}: from {self.backup.name} and {many}"


@dataclass(frozen=True)
class _Catalogue:
    """What is stored, read once."""

    backups: dict[str, Backup]
    anchors: list[Anchor]
    pieces: list[Piece]
    routes: dict[str, list[Piece]]

    @classmethod
    def read(cls) -> _Catalogue:
        backups = {
            backup.name: backup
            for backup in Backup.objects.of_environment(settings.ENVIRONMENT)
            .good()
            .of_kind(*PHYSICAL)
            .exclude(stop_lsn="")
            .newest_first()
        }
        anchors = [Anchor.of_backup(backup) for backup in backups.values()]
        rows = WalSegment.objects.in_order().iterator()
        known = {(row.system_identifier, row.segment): row for row in rows}
        pieces = [Piece.of_row(row) for row in known.values()]
        return cls(backups, anchors, pieces, routes(anchors, pieces))

    @property
    def newest_first(self) -> list[Anchor]:
        return sorted(self.anchors, key=lambda each: (each.moment, each.stop), reverse=True)


def reach(target: Target, progress: Progress | None = None) -> Reach:
    """Return how a moment is restored.

    Raises UnreachableError, which names the nearest moments that can be, and RefusedError where
    there is nothing to restore moments from.
    """
    point = _point(target) if target.kind == TargetKind.POINT else None
    catalogue = _Catalogue.read()
    if not catalogue.anchors:
        raise _without_bases(target)
    found = _search(target, point, catalogue, None)
    if found is not None and (found.more or target.time is None):
        return found
    # Of the newest segments nobody knows to the second up to when they hold everything.
    stored: Stored | None = None
    live = live_server()
    if live is not None and _may_be_unarchived(target, point, catalogue, live):
        stored = live.bring_in(progress)
        catalogue = _Catalogue.read()
        found = _search(target, point, catalogue, stored) or found
    if found is not None:
        return found
    raise _unreachable(target, point, catalogue, live, stored)


# --- searching ---------------------------------------------------------------------------------


def _search(
    target: Target, point: RestorePoint | None, catalogue: _Catalogue, stored: Stored | None
) -> Reach | None:
    for anchor in catalogue.newest_first:
        way = catalogue.routes[anchor.name]
        count = _needed(target, point, anchor, way, stored)
        if count is None:
            continue
        timeline = way[-1].timeline if way else anchor.timeline
        return Reach(
            target=target,
            backup=catalogue.backups[anchor.name],
            pieces=(*_histories(anchor, timeline, catalogue.pieces), *way[:count]),
            timeline=timeline,
            more=tuple(way[count:]),
            point=point,
            note=" ".join(filter(None, [_zone_note(target), stored.note if stored else ""])),
        )
    return None


def _needed(
    target: Target,
    point: RestorePoint | None,
    anchor: Anchor,
    way: list[Piece],
    stored: Stored | None,
) -> int | None:
    """Return how many segments to replay after a backup; None when they don't lead there."""
    if target.time is not None:
        if anchor.moment > target.time:
            return None
        for number, piece in enumerate(way):
            if piece.closed_at >= target.time:
                # The next one, where there is one, holds the record that recovery stops before.
                return number + 2
        return len(way) if _is_at_the_servers_end(anchor, way, stored, target.time) else None
    wanted = position(point.lsn) if point else (target.position or 0)
    if point is not None and point.system_identifier != anchor.system_identifier:
        return None
    if anchor.stop > wanted:
        return None
    for number, piece in enumerate(way):
        if piece.end >= wanted:
            if point is not None and piece.timeline != (point.timeline or piece.timeline):
                return None
            return number + 2
    return None


def _is_at_the_servers_end(
    anchor: Anchor, way: list[Piece], stored: Stored | None, moment: datetime
) -> bool:
    """Whether the archive holds everything that the server had written by that moment."""
    return (
        stored is not None
        and stored.system_identifier == anchor.system_identifier
        and moment <= stored.at
        and bool(way)
        and way[-1].end >= stored.end
    )


def _histories(anchor: Anchor, timeline: int, pieces: list[Piece]) -> list[Piece]:
    if timeline == anchor.timeline:
        return []
    return [
        piece
        for piece in pieces
        if not piece.is_segment
        and piece.system_identifier == anchor.system_identifier
        and piece.timeline <= timeline
    ]


def _point(target: Target) -> RestorePoint:
    points = list(RestorePoint.objects.filter(name=target.text)[:2])
    if points:
        return points[0]
    names = list(RestorePoint.objects.values_list("name", flat=True)[:5])
    known = f" There are {', '.join(names)}." if names else " There is none yet."
    raise UnreachableError(
        f"There is no restore point {target.text}.{known} Nothing was begun. `manage.py "
        "restorepoint --list` shows them; a moment can also be a time or a WAL position."
    )


def _may_be_unarchived(
    target: Target, point: RestorePoint | None, catalogue: _Catalogue, live: Live
) -> bool:
    """Whether it may lie in what the live server has written and the archive does not have yet."""
    own = [each for each in catalogue.anchors if each.system_identifier == live.system_identifier]
    if target.time is not None:
        return target.time <= live.at and any(each.moment <= target.time for each in own)
    if point is not None:
        return point.system_identifier == live.system_identifier
    wanted = target.position or 0
    return wanted <= live.position and any(each.stop <= wanted for each in own)


# --- saying no ---------------------------------------------------------------------------------


def _zone_note(target: Target) -> str:
    if not target.zone_assumed or target.time is None:
        return ""
    return f"{target.text} has no time zone and was taken for UTC."


def _without_bases(target: Target) -> RefusedError:
    try:
        major = Endpoint.of(OWNER).major
    except ServerError:
        major = OLDEST_MAJOR
    if major < OLDEST_MAJOR:
        return RefusedError(
            f"Moments can be restored on PostgreSQL {OLDEST_MAJOR} or newer; this server is "
            f"{major}. Nothing was begun. Restore a full backup instead: `manage.py backups` lists "
            "them."
        )
    return UnreachableError(
        f"{_begin(target)} can't be restored: there is no base backup to begin from. Nothing was "
        "begun. Restore a full backup instead (`manage.py backups` lists them), and take a base "
        "(`manage.py backup --base`) so that later moments can be restored."
    )


def _unreachable(
    target: Target,
    point: RestorePoint | None,
    catalogue: _Catalogue,
    live: Live | None,
    stored: Stored | None,
) -> UnreachableError:
    if target.time is not None:
        why, near = _why_not_time(target.time, catalogue, live)
    else:
        wanted = position(point.lsn) if point else (target.position or 0)
        why, near = _why_not_position(wanted, catalogue, live)
    asked = f" {stored.note}" if stored and stored.note else ""
    nearest = f"The nearest that can be: {near}." if near else "No moment can be."
    zone = f" {_zone_note(target)}" if target.zone_assumed else ""
    return UnreachableError(
        f"{_begin(target)} can't be restored: {why}.{asked}{zone} {nearest} Nothing was begun."
    )


def _why_not_time(moment: datetime, catalogue: _Catalogue, live: Live | None) -> tuple[str, str]:
    windows = [
        each for each in restorable(catalogue.anchors, catalogue.pieces) if not each.is_moment
    ]
    before = [each for each in windows if each.end_time < moment]
    after = [each for each in windows if each.start_time > moment]
    last = max(before, key=lambda each: each.end_time, default=None)
    first = min(after, key=lambda each: each.start_time, default=None)
    near = " and ".join(
        told(each) for each in (last and last.end_time, first and first.start_time) if each
    )
    if live is not None and moment > live.at:
        return f"it is still to come (the server's clock says {told(live.at)})", near
    if last is None and first is None:
        return "no WAL leads on from any base backup", near
    if last is None:
        return "it is before the first base backup that WAL leads on from", near
    return last.reason or "the WAL of that time is not in the archive", near


def _why_not_position(wanted: int, catalogue: _Catalogue, live: Live | None) -> tuple[str, str]:
    spans = [
        (anchor.stop, way[-1].end)
        for anchor in catalogue.anchors
        if (way := catalogue.routes[anchor.name])
    ]
    last = max((end for _, end in spans if end < wanted), default=None)
    first = min((start for start, _ in spans if start > wanted), default=None)
    near = " and ".join(lsn(each) for each in (last, first) if each is not None)
    if live is not None and wanted > live.position:
        return f"the server has not written that far yet (it is at {lsn(live.position)})", near
    if not spans:
        return "no WAL leads on from any base backup", near
    if last is None:
        return "it is before the first base backup that WAL leads on from", near
    return "the WAL from there is not in the archive, or is of another timeline", near


def _begin(target: Target) -> str:
    text = str(target)
    return text[0].upper() + text[1:]
