"""Which moments the catalogue says can be restored: asked by pages, drills and restores alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ops.backups.wal.gaps import Anchor, Piece, Window, restorable
from ops.backups.wal.names import position
from ops.models import Backup, WalSegment
from ops.models.backups import PHYSICAL

# The newest so many are looked at: months of an archive that closes a segment every few minutes.
_MOST_SEGMENTS = 20_000


def restorable_windows() -> list[Window]:
    """Return the stretches of time of which any moment can be restored, oldest first.

    Each is a base and unbroken WAL from there; without WAL a base is no stretch.
    """
    rows = WalSegment.objects.order_by("-closed_at").values_list(
        "system_identifier", "timeline", "start_lsn", "end_lsn", "segment", "closed_at"
    )[:_MOST_SEGMENTS]
    pieces = [
        Piece(system, line, _position(start), _position(end), file, closed)
        for system, line, start, end, file, closed in rows
    ]
    if not pieces:
        return []
    return [window for window in restorable(_anchors(), pieces) if not window.is_moment]


def _anchors() -> list[Anchor]:
    """The physical backups, of their manifests only what places them."""
    rows: Any = (
        Backup.objects.good()
        .of_kind(*PHYSICAL)
        .exclude(stop_lsn="")
        .values_list(
            "name",
            "manifest__server__system_identifier",
            "timeline",
            "start_lsn",
            "stop_lsn",
            "manifest__details__whole_at",
            "finished_at",
        )
    )
    return [
        Anchor(
            name=name,
            system_identifier=str(system),
            timeline=line or 0,
            start=position(start),
            stop=position(stop),
            moment=datetime.fromisoformat(whole_at) if whole_at else finished,
        )
        for name, system, line, start, stop, whole_at, finished in rows
        if whole_at or finished
    ]


def _position(lsn: str) -> int:
    return position(lsn) if lsn else 0
