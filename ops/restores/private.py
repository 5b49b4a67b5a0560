"""A database of the past, on a private server, whatever it was made from.

A dump, a file of somebody else's and a moment out of the WAL all become one of these. It can be
read by a superuser who can do no harm (the server is thrown away), and dumped like a live one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ops.backups.manifest import Manifest
from ops.backups.scratch import Scratch
from ops.postgres.endpoint import Connection, Endpoint


@dataclass(frozen=True)
class Reached:
    """How far the WAL was replayed, against what was asked for."""

    target: str  # in words: "the moment 2026-11-22 14:05:00 UTC"
    lsn: str  # end of the last record replayed
    transaction_at: datetime | None  # when the last transaction of it ended; None: there was none
    backup: str  # the base, or the last link of its chain
    segments: int  # of WAL from the archive
    complete_at_end: bool  # nothing was written later: recovery ended where the WAL does
    note: str = ""

    def __str__(self) -> str:
        last = "no transaction"
        if self.transaction_at is not None:
            last = f"the last transaction at {self.transaction_at:%Y-%m-%d %H:%M:%S.%f} UTC"
        end = ", where the WAL written by then ends" if self.complete_at_end else ""
        said = f"For {self.target}: replayed up to {self.lsn}{end}, with {last}."
        return f"{said} {self.note}".strip()


@dataclass(frozen=True)
class PrivateDatabase:
    """A database on a scratch server, as long as the block that lends it."""

    place: Scratch
    name: str
    origin: str  # what it came from, in words: "the backup NAME", "the file X", "the moment T"
    holds: datetime | None  # the moment its data is of, where that is known
    manifest: Manifest | None = None  # of the backup it came from
    reached: Reached | None = None  # of a moment: how far recovery went
    notes: tuple[str, ...] = ()  # what was left out or assumed, in sentences

    def connect(self) -> Connection:
        """Connect as the superuser of the private server, in autocommit mode."""
        return self.place.connect(self.name)

    @property
    def endpoint(self) -> Endpoint:
        """Where PostgreSQL's own programs find it."""
        address: dict[str, Any] = dict(self.place.server.connection)
        return Endpoint(
            host=str(address["host"]),
            port=str(address["port"]),
            user=str(address["user"]),
            database=self.name,
            password=None,
        )
