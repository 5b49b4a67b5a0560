"""The live server, asked for what it has written and the WAL archive does not have yet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from ops.backups.logical import describe
from ops.backups.wal.names import lsn, position
from ops.backups.wal.slot import ServerWatch
from ops.models import WalSegment
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError
from ops.progress import Progress
from ops.runs import OWNER

_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Stored:
    """What came of asking: everything up to `end` is stored, if it is not told otherwise."""

    system_identifier: str
    at: datetime  # by the server's clock; all that was committed by then lies before `end`
    end: int
    note: str = ""  # why it is not all there


@dataclass(frozen=True)
class Live:
    """The server as it is now."""

    system_identifier: str
    timeline: int
    at: datetime  # by its clock
    position: int  # up to which it has written
    receiving: bool  # somebody fetches its WAL

    def bring_in(self, progress: Progress | None = None) -> Stored:
        """Have the server close its segment, and wait until the receiver has stored it.

        Waits for settings.RESTORE_WAL_WAIT_SECONDS at most. Raises CancelledError.
        """
        if not self.receiving:
            return self._stored(
                "The live server may have written it, but no walreceiver runs that would bring "
                "its WAL into the archive: start `manage.py walreceiver` and ask again."
            )
        watch = ServerWatch(Endpoint.of(OWNER))
        try:
            end = watch.switch()
        except ServerError as error:
            return self._stored(str(error))
        finally:
            watch.close()
        if end is None:
            return self._stored(
                "The live server was not asked for its newest WAL: the owner's login may not call "
                "pg_switch_wal. `manage.py provision` with a superuser's URL allows it."
            )
        if progress is not None:
            progress.phase("waiting for the newest WAL to be stored")
        deadline = time.monotonic() + settings.RESTORE_WAL_WAIT_SECONDS
        while not self._has(end):
            if progress is not None:
                progress.check()
            if time.monotonic() > deadline:
                return self._stored(
                    f"The live server was asked for its newest WAL, which was not stored within "
                    f"{settings.RESTORE_WAL_WAIT_SECONDS} seconds: look at the walreceiver, and "
                    "ask again."
                )
            time.sleep(_EVERY)
        return Stored(
            self.system_identifier, self.at, end, f"WAL up to {lsn(end)} was fetched for this."
        )

    def _has(self, end: int) -> bool:
        rows = WalSegment.objects.filter(
            system_identifier=self.system_identifier, timeline=self.timeline
        ).exclude(end_lsn="")
        newest = rows.order_by("-segment").values_list("end_lsn", flat=True).first()
        return newest is not None and position(newest) >= end

    def _stored(self, note: str) -> Stored:
        return Stored(self.system_identifier, self.at, 1 << 64, note)


def live_server() -> Live | None:
    """Return the live server as it is now; None when it is away."""
    endpoint = Endpoint.of(OWNER)
    watch = ServerWatch(endpoint)
    try:
        with endpoint.connect() as connection:
            identifier = str(describe(connection)["server"]["system_identifier"])
            row = connection.execute(
                "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
            ).fetchone()
        seen = watch.look()
    except ServerError:
        return None
    finally:
        watch.close()
    assert row is not None
    return Live(identifier, int(row[0]), seen.at, seen.position, seen.active)
