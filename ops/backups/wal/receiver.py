"""The WAL archive, kept: fetched from the server as it is written, stored as segments close.

Nothing is lost while the storage is away (the local folder keeps it), while this is not running
(the server's slot keeps it, up to max_slot_wal_keep_size) or when it is killed at any moment. When
the slot is lost there is a hole in the archive; it is made anew and a new base backup is taken.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections

from ops.backups.errors import BackupError, BusyError
from ops.backups.physical import replicating_server
from ops.backups.vault import PRIMARY, Vault
from ops.backups.wal.alone import only_one
from ops.backups.wal.bases import Bases
from ops.backups.wal.delivery import Delivery, Limits, end_of
from ops.backups.wal.fetching import Fetcher
from ops.backups.wal.gaps import Piece, gaps
from ops.backups.wal.names import FOLDER, is_segment, start_of
from ops.backups.wal.shipping import Server, Shipper
from ops.backups.wal.slot import SLOT, Seen, ServerWatch, Writing, drop_slot, make_slot
from ops.errors import OpsError
from ops.models import WalSegment
from ops.postgres.errors import PoolerError, ServerError
from ops.runs import OWNER
from ops.words import size

_TICK = 0.5  # seconds
_LOOK_EVERY = 2.0
_ORPHAN_SECONDS = 15.0  # until the server notices that a killed receiver has gone
_DROPPED = "the server had to drop WAL that was not fetched yet"
_GONE = f"the slot {SLOT} has gone from the server"


class Receiver:
    """One server's WAL, from its slot into the storages."""

    def __init__(
        self,
        *,
        say: Callable[[str], None],
        stop: threading.Event,
        note: Callable[[str], None] | None = None,
        once: bool = False,
        after: int | None = None,
    ) -> None:
        # What goes as it should is noted; what somebody may want to act upon is said.
        self._say, self._note, self._stop = say, note or say, stop
        self._limits = Limits(once, after)
        self._writing, self._switch_due = Writing(), 0.0
        self._wal_status, self._looked = "", 0.0
        self._is_behind = False  # the server has removed what would be fetched next

    def run(self) -> int:
        """Work until `stop` is set or a limit is reached; return how many segments were stored.

        `once` ends when everything written before it began is stored, `after` when so many
        segments are. Raises OpsError when it can't begin; with `once`, also when it can't go on.
        """
        home = archive_folder()
        with only_one(home):
            self._connect(home)
            try:
                self._begin()
                while not self._is_over():
                    self._step()
                    if not self._is_over():
                        self._stop.wait(_TICK)
            finally:
                self._fetcher.stop()
                self._bases.stop()
                self._watch.close()
        return self._limits.shipped

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._limits.is_over

    # --- beginning -----------------------------------------------------------------------------

    def _connect(self, home: Path) -> None:
        found = replicating_server()
        self._replication = found.replication
        self._watch = ServerWatch(found.owner)
        segment_size = int(self._watch.setting("wal_segment_size"))
        self._server = Server(found.system_identifier, segment_size)
        own = home / found.system_identifier
        self._closed, receiving = own / "closed", own / "receiving"
        for folder in (self._closed, receiving):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fetcher = Fetcher(found.replication, receiving, self._closed, self._say)
        self._bases = Bases(own / "base-wanted.json", found.system_identifier, self._say)

    def _begin(self) -> None:
        self._fetcher.stop_orphan()
        self._fetcher.collect()
        second = Vault.second()
        vaults = [Vault.primary(), *([second] if second else [])]
        shipper = Shipper(self._closed, self._server, vaults, closed_at=self._closed_at)
        self._shipper = shipper
        self._delivery = Delivery(
            shipper,
            self._limits,
            say=self._say,
            note=self._note,
            stopped=self._stop.is_set,
            on_damage=self._damaged,
        )
        if self._watch.setting("max_slot_wal_keep_size") == "-1":
            self._say(
                "WARNING: max_slot_wal_keep_size is unlimited: while nobody fetches, WAL can fill "
                "the server's disk. As a superuser: ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'"
            )
        self._require_slot(self._require_free(self._watch.look()))
        self._tell_gaps()
        self._switch_due = time.monotonic() + settings.BACKUP_WAL_SWITCH_SECONDS
        if self._limits.once:
            self._aim()
        into = " and ".join(vault.label for vault in vaults)
        self._note(f"fetching WAL of server {self._server.system_identifier} into {into}")

    def _require_free(self, seen: Seen) -> Seen:
        """Wait for the server to notice that a killed receiver is gone. Raises BusyError."""
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while seen.active_pid is not None:
            if time.monotonic() > deadline or self._stop.is_set():
                raise BusyError(
                    f"The slot {SLOT} is in use by {self._watch.holder(seen.active_pid)}. Nothing "
                    "was done. One receiver is enough: stop that one first."
                )
            self._stop.wait(_TICK)
            seen = self._watch.look()
        return seen

    def _require_slot(self, seen: Seen) -> None:
        """Make the slot where there is none, and make a lost one anew."""
        if seen.wal_status == "lost":
            self._renew_slot(_DROPPED)
        elif not seen.exists and self._newest() is not None:
            self._renew_slot(_GONE)
        elif not seen.exists:
            make_slot(self._replication)
            self._note(f"made the slot {SLOT}")

    def _renew_slot(self, why: str) -> None:
        """Make a new slot; what was written in between is not in the archive."""
        self._fetcher.collect()
        self._fetcher.begin_anew()
        drop_slot(self._replication)
        make_slot(self._replication)
        self._bases.want(self._watch.look().position, why)
        self._say(
            f"WARNING: {why}. Moments since the last stored segment can't be restored. The slot "
            f"{SLOT} was made anew, and a new base backup is taken"
        )

    def _tell_gaps(self) -> None:
        rows = WalSegment.objects.filter(
            system_identifier=self._server.system_identifier, storage=PRIMARY
        )
        holes = gaps(map(Piece.of_row, rows))
        if holes:
            others = f" (and {len(holes) - 1:,} older gaps)" if len(holes) > 1 else ""
            self._say(f"WARNING: {holes[-1]}{others}. Those moments can't be restored")

    def _aim(self) -> None:
        """Set what `once` waits for: everything written so far, where segments may be closed."""
        seen, each = self._watch.look(), self._server.segment_size
        closed = self._watch.switch()
        if closed is None:
            self._limits.target = seen.position // each * each
            self._say("the segment being written can't be closed here and is left for later")
        else:
            self._limits.target = -(-closed // each) * each
        self._limits.reached = end_of(self._newest())

    def _newest(self) -> WalSegment | None:
        rows = WalSegment.objects.filter(system_identifier=self._server.system_identifier)
        return rows.exclude(end_lsn="").order_by("-closed_at", "-segment").first()

    # --- going on ------------------------------------------------------------------------------

    def _step(self) -> None:
        self._look_at_server()
        self._look_at_fetcher()
        self._fetcher.collect()
        self._delivery.step()
        try:
            self._bases.look()
        except DatabaseError:
            connections[OWNER].close()

    def _look_at_server(self) -> None:
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        try:
            seen = self._watch.look()
            self._tell_status(seen)
            self._close_segment_when_due(seen)
        except PoolerError:
            raise
        except ServerError:
            return  # pg_receivewal notices too, and that is told

    def _tell_status(self, seen: Seen) -> None:
        before, self._wal_status = self._wal_status, seen.wal_status
        if seen.wal_status == before:
            return
        kept = size(seen.kept_bytes)
        if seen.wal_status == "extended":
            self._say(f"the server keeps {kept} of WAL that was not fetched yet")
        elif seen.wal_status == "unreserved":
            self._say(
                f"WARNING: the server is about to drop WAL that was not fetched yet: it keeps "
                f"{kept}, more than max_slot_wal_keep_size"
            )

    def _close_segment_when_due(self, seen: Seen) -> None:
        """Close a segment that was written to, so that it is stored in time, however little."""
        if time.monotonic() < self._switch_due:
            return
        self._switch_due = time.monotonic() + settings.BACKUP_WAL_SWITCH_SECONDS
        own = self._shipper.rows_written
        if self._writing.by_others(seen, own) and self._watch.switch() is None:
            self._switch_due = math.inf
            self._say(
                "WARNING: the owner's login may not call pg_switch_wal, so a segment is stored "
                "only when it is full. `manage.py provision` with a superuser's URL allows it"
            )
        self._writing.closed(seen, own)

    def _look_at_fetcher(self) -> None:
        words = self._fetcher.look()
        if words is not None:
            if self._limits.once:
                raise BackupError(f"pg_receivewal ended: {words}. What is stored is safe.")
            self._say(f"pg_receivewal ended: {words}; again in {self._fetcher.pause:.0f} s")
            self._is_behind = "has already been removed" in words
        if not self._fetcher.is_due:
            return
        try:
            if self._is_behind:
                self._renew_slot(_DROPPED)
                self._is_behind = False
            self._require_slot(self._watch.look())
            self._fetcher.start()
        except (OpsError, DatabaseError) as error:
            if self._limits.once or isinstance(error, PoolerError):
                raise
            connections[OWNER].close()
            self._fetcher.postpone()
            what = str(error) if isinstance(error, OpsError) else "The catalogue can't be read."
            self._say(f"{what} Again in {self._fetcher.pause:.0f} s")

    def _damaged(self, why: str) -> None:
        """A segment is of no use as it lies here; only a new base leads past it."""
        self._say(f"WARNING: {why} It was set aside, and a new base backup is taken")
        with suppress(ServerError):
            self._bases.want(self._watch.look().position, why)

    def _closed_at(self, path: Path) -> datetime:
        """Return by which moment everything is in this segment or before it.

        Known from having looked at the server meanwhile. What was written before this began was
        closed by the time of the first look.
        """
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if not is_segment(path.name):
            return written
        end = start_of(path.name, self._server.segment_size) + self._server.segment_size
        return self._watch.passed(end) or min(written, self._watch.first_look() or written)


def archive_folder() -> Path:
    """Return where segments lie until they are stored."""
    return Path(settings.VAR_DIR) / FOLDER
