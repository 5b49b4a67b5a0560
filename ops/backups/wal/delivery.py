"""Closed segments on their way into the storages, for as long as that takes.

A storage that refuses is tried again after longer and longer pauses; the segments wait in their
folder, and that they do is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connections

from ops.backups.errors import BackupError, DamagedError
from ops.backups.vault import Vault
from ops.backups.wal.names import position
from ops.backups.wal.shipping import Shipper
from ops.errors import OpsError
from ops.models import WalSegment
from ops.runs import OWNER
from ops.words import size

_LONGEST_PAUSE = 300.0  # seconds between two attempts at a storage that refuses
_MANY = 64  # segments that wait and are worth a warning; then twice as many …


@dataclass
class Limits:
    """When to end without being asked to."""

    once: bool = False  # when everything that was written before it began is stored
    after: int | None = None  # when so many segments are stored
    target: int | None = None  # the position that `once` waits for
    shipped: int = 0
    reached: int = 0  # the position up to which segments are stored

    @property
    def is_over(self) -> bool:
        """Whether it is time."""
        if self.after is not None and self.shipped >= self.after:
            return True
        return self.once and self.target is not None and self.reached >= self.target

    def count(self, row: WalSegment) -> None:
        """Count a stored segment."""
        self.shipped += 1
        self.reached = max(self.reached, end_of(row))


@dataclass
class _Attempts:
    failures: int = 0
    due: float = 0.0

    def failed(self) -> float:
        self.failures += 1
        pause = min(2.0 ** (self.failures - 1), _LONGEST_PAUSE)
        self.due = time.monotonic() + pause
        return pause


class Delivery:
    """Brings what is closed into every storage."""

    def __init__(
        self,
        shipper: Shipper,
        limits: Limits,
        *,
        say: Callable[[str], None],
        note: Callable[[str], None],
        stopped: Callable[[], bool],
        on_damage: Callable[[str], None],
    ) -> None:
        self._shipper, self._limits = shipper, limits
        self._say, self._note = say, note
        self._stopped, self._on_damage = stopped, on_damage
        self._attempts = {vault.label: _Attempts() for vault in shipper.vaults}
        self._warned_at = _MANY

    def step(self) -> None:
        """Store what waits. Raises only with `once`, where nobody will try again."""
        for vault in self._shipper.vaults:
            attempts = self._attempts[vault.label]
            if time.monotonic() < attempts.due:
                continue
            try:
                self._bring_to(vault)
            except (BackupError, DatabaseError) as error:
                self._failed(vault, attempts, error)
            else:
                if attempts.failures:
                    self._say(f"{vault.label} takes segments again")
                self._attempts[vault.label] = _Attempts()
        try:
            self._shipper.forget()
        except DatabaseError:
            connections[OWNER].close()
        self._warn()

    def _bring_to(self, vault: Vault) -> None:
        for path in self._shipper.waiting_for(vault):
            if self._stopped() or self._limits.is_over:
                return
            try:
                row = self._shipper.ship(path, vault)
            except DamagedError as error:
                path.replace(path.with_name(f"{path.name}.damaged"))
                self._on_damage(str(error))
                continue
            if vault is self._shipper.vaults[0]:
                self._limits.count(row)
            self._note(f"stored {row.segment} in {vault.label} ({size(row.size)})")

    def _failed(self, vault: Vault, attempts: _Attempts, error: Exception) -> None:
        if isinstance(error, DatabaseError):
            connections[OWNER].close()
        if self._limits.once:
            raise error
        pause = attempts.failed()
        what = str(error) if isinstance(error, OpsError) else "The catalogue can't be written."
        self._say(
            f"{what} {_told(self._shipper.waiting())} for {vault.label}; again in {pause:.0f} s"
        )

    def _warn(self) -> None:
        waiting = self._shipper.waiting()
        if len(waiting) < _MANY:
            self._warned_at = _MANY
        elif len(waiting) >= self._warned_at:
            self._warned_at = 2 * len(waiting)
            self._say(
                f"WARNING: {_told(waiting)}. Until they are stored they are on this machine alone, "
                "and they take its disk"
            )


def end_of(row: WalSegment | None) -> int:
    """Return the position behind a stored segment; 0 for none and for a history."""
    return position(row.end_lsn) if row and row.end_lsn else 0


def _told(waiting: list[Path]) -> str:
    kept = sum(path.stat().st_size for path in waiting)
    where = f" in {waiting[0].parent}" if waiting else ""
    many = "1 segment waits" if len(waiting) == 1 else f"{len(waiting):,} segments wait"
    return f"{many}{where} ({size(kept)})"
