"""What the WAL archive has, and what is missing in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from ops import words
from ops.backups.wal.gaps import Anchor, Gap, Piece, gaps, restorable
from ops.backups.wal.names import lsn, position
from ops.backups.wal.slot import SLOT
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.models import Area, Severity
from ops.models.backups import GOOD, PHYSICAL

# The newest so many are looked at, as `restorable_windows` does: months of an archive.
_MOST = 20_000
# WAL is shipped as segments close, every few minutes: less than this is no delay.
USUAL_DELAY = timedelta(minutes=15)
_WAITING = 48 << 20  # bytes: the segment that is open, and two that are on their way


@check(Area.BACKUPS, "Gaps in the WAL archive", every=HOURLY)
def wal_archive(context: Context) -> Iterator[Reported]:
    """Where a segment is missing, no moment after it can be restored until the next base backup."""
    anchors, pieces = context.once(read_anchors), context.once(read_pieces)
    newest = max(anchors, key=lambda each: each.moment, default=None)
    for gap in gaps(pieces):
        yield _gap(gap, newest)
    yield from _behind(context)


def _gap(gap: Gap, newest: Anchor | None) -> Reported:
    behind_it = (
        newest is not None
        and newest.system_identifier == gap.system_identifier
        and (newest.timeline, newest.start) >= (gap.timeline, gap.end)
    )
    meaning = (
        "A base backup was taken since, so only moments between the two are lost."
        if behind_it
        else "No moment after it can be restored, until there is a base backup that is newer."
    )
    return Reported(
        f"{gap.system_identifier} {gap.timeline} {lsn(gap.start)}",
        Severity.INFO if behind_it else Severity.CRITICAL,
        "WAL is missing from the archive",
        f"{str(gap)[:1].upper()}{str(gap)[1:]}. {meaning}",
        "manage.py backups --rebuild" if behind_it else "manage.py backup --base",
    )


def _behind(context: Context) -> Iterator[Reported]:
    if not settings.REPLICATION_URL or context.facts.in_recovery:
        return
    rows = context.rows(
        "SELECT greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint,"
        " (SELECT max(closed_at) FROM ops_walsegment WHERE end_lsn <> '')"
        # Nobody there to fetch it is told by the check wal_receiver.
        " FROM pg_replication_slots WHERE slot_name = %s AND active",
        [SLOT],
    )
    for kept, closed_at in rows:
        # On a server that nobody writes to time passes, and nothing is waiting.
        if kept < _WAITING or closed_at is None or context.now - closed_at <= USUAL_DELAY:
            continue
        since = words.duration((context.now - closed_at).total_seconds())
        yield Reported(
            "behind",
            Severity.WARNING,
            "WAL reaches the archive late",
            f"walreceiver runs, and has stored nothing for {since}; {words.size(kept)} are "
            "waiting. A failure of the disk now would lose that much work. See what it says: the "
            "storage may be away, or slow.",
            "manage.py backups",
        )


def last_moment(context: Context) -> datetime | None:
    """Up to which moment the WAL archive leads; None when it leads nowhere."""
    windows = restorable(context.once(read_anchors), context.once(read_pieces))
    return max((each.end_time for each in windows), default=None)


def read_pieces(context: Context) -> list[Piece]:
    """The stored segments, as the catalogue has them."""
    rows: list[tuple[Any, ...]] = context.rows(
        "SELECT system_identifier, timeline, start_lsn, end_lsn, segment, closed_at"
        " FROM ops_walsegment ORDER BY closed_at DESC LIMIT %s",
        [_MOST],
    )
    return [
        Piece(system, line, _position(start), _position(end), segment, closed_at)
        for system, line, start, end, segment, closed_at in rows
    ]


def read_anchors(context: Context) -> list[Anchor]:
    """The physical backups that WAL can be replayed from."""
    rows: list[tuple[Any, ...]] = context.rows(
        "SELECT name, coalesce(manifest #>> '{server,system_identifier}', ''),"
        " coalesce(timeline, 0), start_lsn, stop_lsn,"
        " coalesce((manifest #>> '{details,whole_at}')::timestamptz, finished_at)"
        " FROM ops_backup WHERE state = ANY(%s) AND kind = ANY(%s) AND stop_lsn <> ''",
        [list(GOOD), list(PHYSICAL)],
    )
    return [
        Anchor(name, system, line, _position(start), _position(stop), moment)
        for name, system, line, start, stop, moment in rows
        if moment is not None
    ]


def _position(text: str) -> int:
    return position(text) if text else 0
