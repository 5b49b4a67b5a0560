"""How the WAL archive stands, for pages and health checks: one question to the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, router

from ops.backups.wal.slot import SLOT
from ops.models import WalSegment


@dataclass(frozen=True)
class WalStatus:
    """The server's side and the archive's."""

    configured: bool  # a login that may fetch WAL is set
    slot: str  # reserved, extended, unreserved, lost; "" when there is none
    receiving: bool  # somebody fetches from the slot right now
    kept_bytes: int  # of WAL that the server keeps until it is fetched
    safe_bytes: int | None  # that may still be written before the slot is lost; None: any number
    newest: WalSegment | None  # stored last

    def behind(self, now: datetime) -> timedelta | None:
        """Return how old the newest stored moment is; None when there is none.

        On a server that nobody writes to this grows, and nothing is lost.
        """
        return None if self.newest is None else now - self.newest.closed_at


def wal_status() -> WalStatus:
    """Return how the archive stands. Any login may ask; raises Django's DatabaseError."""
    using = router.db_for_read(WalSegment) or DEFAULT_DB_ALIAS
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(wal_status, ''), active, safe_wal_size,"
            " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint"
            " FROM pg_replication_slots WHERE slot_name = %s",
            [SLOT],
        )
        slot, receiving, safe, kept = cursor.fetchone() or ("", False, None, 0)
    newest = WalSegment.objects.exclude(end_lsn="").order_by("-closed_at", "-segment").first()
    return WalStatus(
        configured=bool(settings.REPLICATION_URL),
        slot=slot,
        receiving=receiving,
        kept_bytes=int(kept),
        safe_bytes=None if safe is None else int(safe),
        newest=newest,
    )
