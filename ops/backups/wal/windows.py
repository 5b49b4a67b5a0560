"""Which moments the catalogue says can be restored: asked by pages, drills and restores alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models.fields.json import KT

from ops.backups.wal.gaps import Anchor, Piece, Window, restorable
from ops.backups.wal.names import position
from ops.models import Backup, WalSegment
from ops.models.backups import PHYSICAL

# The newest so many are looked at: months of an archive that closes a segment every few minutes.
_MOST_SEGMENTS = 20_000


# Runs a QuerySet of values_list; health checks ask by a connection of their own.
Ask = Callable[[Any], Iterable[tuple[Any, ...]]]


def restorable_windows(environment: str = "", ask: Ask = list) -> list[Window]:
    """Return the stretches of time of which any moment can be restored, oldest first.

    Each is a base of the environment (without a name, of this one) and unbroken WAL from there;
    without WAL a base is no stretch.
    """
    pieces = stored_pieces(ask)
    if not pieces:
        return []
    anchors = stored_anchors(environment or settings.ENVIRONMENT, ask)
    return [window for window in restorable(anchors, pieces) if not window.is_moment]


def stored_pieces(ask: Ask = list) -> list[Piece]:
    """Return the newest stored segments. WAL is a server's; whose, its base backups say."""
    rows = WalSegment.objects.order_by("-closed_at").values_list(
        "system_identifier", "timeline", "start_lsn", "end_lsn", "segment", "closed_at"
    )[:_MOST_SEGMENTS]
    return [
        Piece(system, line, _position(start), _position(end), file, closed)
        for system, line, start, end, file, closed in ask(rows)
    ]


def stored_anchors(environment: str, ask: Ask = list) -> list[Anchor]:
    """Return an environment's physical backups, of their manifests only what places them."""
    return [anchor for of, anchor in _anchors(ask) if of == environment]


def systems_of_others(environment: str, ask: Ask = list) -> set[str]:
    """Return the servers that other environments have base backups of, and this one has none."""
    systems = [(of, anchor.system_identifier) for of, anchor in _anchors(ask)]
    own = {system for of, system in systems if of == environment}
    return {system for _, system in systems} - own


def _anchors(ask: Ask) -> list[tuple[str, Anchor]]:
    rows = (
        Backup.objects.good()
        .of_kind(*PHYSICAL)
        .exclude(stop_lsn="")
        .values_list(
            "environment",
            "name",
            KT("manifest__server__system_identifier"),
            "timeline",
            "start_lsn",
            "stop_lsn",
            KT("manifest__details__whole_at"),
            "finished_at",
        )
    )
    return [
        (
            of,
            Anchor(
                name=name,
                system_identifier=str(system),
                timeline=line or 0,
                start=position(start),
                stop=position(stop),
                moment=datetime.fromisoformat(whole_at) if whole_at else finished,
            ),
        )
        for of, name, system, line, start, stop, whole_at, finished in ask(rows)
        if whole_at or finished
    ]


def _position(lsn: str) -> int:
    return position(lsn) if lsn else 0
