"""The server's side of the WAL archive: a replication slot that keeps what was not fetched yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from ops.backups.errors import BackupError
from ops.backups.wal.names import position
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ServerError, one_line
from ops.postgres.roles import MAINTENANCE_DATABASE

SLOT = "srvc_wal"
_SAMPLES = 4096  # positions and when the server was there: more than an hour of them

# The time comes before the position: whatever was committed by then is before that position.
_LOOK = """
    SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text,
           pg_snapshot_xmax(now.seen)::text::bigint,
           EXISTS (SELECT FROM pg_snapshot_xip(now.seen)),
           slot.slot_name IS NOT NULL, coalesce(slot.active, false), slot.active_pid,
           coalesce(slot.wal_status, ''), slot.safe_wal_size,
           coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), slot.restart_lsn), 0)::bigint
    FROM (SELECT pg_current_snapshot() AS seen) AS now
    LEFT JOIN pg_replication_slots AS slot ON slot.slot_name = %s
"""


@dataclass(frozen=True)
class Seen:
    """The server at one moment, by its own clock."""

    at: datetime
    position: int  # up to which WAL was written
    completed: int  # one more than the newest transaction that ended
    has_open_writers: bool  # transactions that have written, and go on
    exists: bool
    active: bool
    active_pid: int | None
    wal_status: str  # reserved, extended, unreserved, lost; "" without the slot
    safe_bytes: int | None  # that may still be written before the slot is lost; None: any number
    kept_bytes: int  # of WAL that the server keeps for the slot


class ServerWatch:
    """Looks at the server by the owner's login, again and again, on one connection."""

    def __init__(self, owner: Endpoint) -> None:
        # Only there may the owner call pg_switch_wal (ops/postgres/roles.py).
        self._endpoint = owner.at(MAINTENANCE_DATABASE)
        self._connection: Connection | None = None
        self._samples: deque[tuple[int, datetime]] = deque(maxlen=_SAMPLES)

    def look(self) -> Seen:
        """Return how things are. Raises ServerError when the server is away."""
        row = self._row(_LOOK, [SLOT])
        assert row is not None
        seen = Seen(row[0].astimezone(UTC), position(row[1]), *row[2:])
        self._samples.append((seen.position, seen.at))
        return seen

    def switch(self) -> int | None:
        """Close the current segment; return its end. None when the server does not allow it.

        Where nothing was written since the last one was closed, nothing happens.
        """
        try:
            row = self._row("SELECT pg_switch_wal()::text", [])
        except psycopg.errors.InsufficientPrivilege:
            return None
        return position(str(row[0])) if row else None

    def passed(self, end: int) -> datetime | None:
        """Return the latest moment that is known to be wholly before a position."""
        moments = [at for reached, at in self._samples if reached <= end]
        return max(moments, default=None)

    def first_look(self) -> datetime | None:
        """Return when the server was looked at first."""
        return self._samples[0][1] if self._samples else None

    def holder(self, pid: int) -> str:
        """Return who fetches WAL from the slot, for people to read."""
        row = self._row(
            "SELECT application_name, coalesce(client_addr::text, 'this machine'),"
            " to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS') FROM pg_stat_replication"
            " WHERE pid = %s",
            [pid],
        )
        if row is None:
            return f"a program that has gone (server process {pid})"
        return f"{row[0] or 'a program'} on {row[1]}, since {row[2]} UTC (server process {pid})"

    def setting(self, name: str) -> str:
        """Return a setting of the server; sizes in bytes or as the server counts them."""
        row = self._row("SELECT setting FROM pg_settings WHERE name = %s", [name])
        return str(row[0]) if row else ""

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, query: str, arguments: list[object]) -> tuple[Any, ...] | None:
        if self._connection is None or self._connection.closed:
            self._connection = self._endpoint.connect(application_name="srvc walreceiver")
        try:
            return self._connection.execute(query.encode(), arguments).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.Error as error:
            self.close()
            raise ServerError(f"The server can't be asked: {one_line(error)}.") from None


class Writing:
    """Whether anybody but the archive itself has written since the segment was last closed.

    Every row about a segment is a transaction; counting them keeps an idle server idle.
    """

    def __init__(self) -> None:
        self._completed: int | None = None
        self._had_open_writers = True
        self._own = 0

    def by_others(self, seen: Seen, own: int) -> bool:
        """Tell it for what is seen now; `own` counts the archive's transactions so far."""
        if self._completed is None or self._had_open_writers:
            return True
        return seen.completed - self._completed > own - self._own

    def closed(self, seen: Seen, own: int) -> None:
        """Begin anew: the segment was closed after this was seen."""
        self._completed, self._own = seen.completed, own
        self._had_open_writers = seen.has_open_writers


def make_slot(replication: Endpoint) -> None:
    """Make the slot; it keeps WAL from the last checkpoint on. One that is there is fine."""
    with _told(), replication.connect() as connection, suppress(psycopg.errors.DuplicateObject):
        connection.execute(f"CREATE_REPLICATION_SLOT {SLOT} PHYSICAL RESERVE_WAL".encode())


def drop_slot(replication: Endpoint) -> None:
    """Drop the slot; one that is gone is fine."""
    with _told(), replication.connect() as connection, suppress(psycopg.errors.UndefinedObject):
        connection.execute(f"DROP_REPLICATION_SLOT {SLOT}".encode())


@contextmanager
def kept_wal(replication: Endpoint, name: str) -> Iterator[bool]:
    """Have the server keep its WAL, from the last checkpoint on, for as long as this is open.

    Tells whether it does: a server without a free slot removes WAL as its checkpoints please. The
    slot is temporary and goes with its session, also when this process is killed. Raises
    ServerError.
    """
    statement = f"CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL RESERVE_WAL"
    with replication.connect() as connection:
        try:
            connection.execute(statement.encode())
        except (
            psycopg.errors.ConfigurationLimitExceeded,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            is_kept = False
        else:
            is_kept = True
        yield is_kept


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise BackupError(
            f"The replication slot {SLOT} can't be made or dropped: {one_line(error)}. Nothing was "
            "changed. See that max_replication_slots leaves room for it, and run this again."
        ) from None
