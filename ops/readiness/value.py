"""The readiness of one environment to be restored, at one moment: facts, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ops.backups.wal.gaps import Window
from ops.models.backups import WHOLE

# What a nightly schedule may be late by before anybody is told.
LATE = timedelta(hours=2)
# WAL is shipped as segments close, every few minutes: less than this is no delay.
USUAL_DELAY = timedelta(minutes=15)


class Level(StrEnum):
    """How urgent it is to do something."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Shortcoming(StrEnum):
    """What keeps an environment from being ready, most urgent first."""

    NO_BACKUP = "no_backup"
    TOO_MUCH_LOST = "too_much_lost"
    DRILL_FAILED = "drill_failed"
    NEWEST_DAMAGED = "newest_damaged"
    WAL_LATE = "wal_late"
    UNPROVEN = "unproven"
    TOO_SLOW = "too_slow"
    ATTEMPT_FAILED = "attempt_failed"
    DAMAGED = "damaged"
    NOT_OFF_SITE = "not_off_site"


# What may lose data, or brings nothing back; the others are warnings.
BAD = (
    Shortcoming.NO_BACKUP,
    Shortcoming.TOO_MUCH_LOST,
    Shortcoming.DRILL_FAILED,
    Shortcoming.NEWEST_DAMAGED,
)


@dataclass(frozen=True)
class Promise:
    """What settings promise; a plan that can't be read promises this."""

    loss: timedelta = timedelta(hours=24)
    time: timedelta = timedelta(hours=1)
    proof: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class GoodBackup:
    """A backup that can be restored, as the catalogue has it."""

    pk: int
    name: str
    kind: str
    state: str
    taken_at: datetime
    finished_at: datetime | None
    proven_at: datetime | None
    has_copy: bool  # a good one, off-site


@dataclass(frozen=True)
class Damage:
    """A backup, or the copy of one in `storage`, that the last check found damaged or missing."""

    pk: int
    name: str
    storage: str  # empty: the backup itself
    state: str
    note: str


@dataclass(frozen=True)
class DrillOutcome:
    """What the last drill that ended came to."""

    verdict: str
    subject: str
    note: str
    started_at: datetime


@dataclass(frozen=True)
class Attempt:
    """The last attempt to take a backup, when it failed."""

    run: int
    at: datetime


@dataclass(frozen=True)
class KindReadiness:
    """What there is of one kind of backup."""

    newest_at: datetime | None = None  # the moment that the newest good one holds
    oldest_at: datetime | None = None
    proven_at: datetime | None = None  # when a restore of one was last tried and held


@dataclass(frozen=True)
class Readiness:
    """Whether an environment can be restored, up to when, proven when, and in how long."""

    environment: str
    at: datetime
    promise: Promise = field(default_factory=Promise)
    late: timedelta = LATE
    has_backups: bool = False  # of whatever kind and state
    newest: GoodBackup | None = None  # of those that bring the whole database back
    newest_proven: GoodBackup | None = None
    windows: tuple[Window, ...] = ()  # any moment of these can be restored, oldest first
    kinds: Mapping[str, KindReadiness] = field(default_factory=dict)
    drill: DrillOutcome | None = None  # the last of all
    failed_drill: DrillOutcome | None = None  # one that none of its kind has passed since
    drilled_at: datetime | None = None  # when a drill of a whole database passed last
    seconds: float | None = None  # that this drill took until its data could be used
    damages: tuple[Damage, ...] = ()
    newest_damaged: str = ""  # the name of the newest of all, when it is damaged or missing
    failed_attempt: Attempt | None = None
    needs_copy: bool = False  # there is a second storage, or there should be
    has_second_storage: bool = False

    @property
    def wal_to(self) -> datetime | None:
        """Up to which moment the WAL archive leads; None when it leads nowhere."""
        return max((window.end_time for window in self.windows), default=None)

    @property
    def restorable_to(self) -> datetime | None:
        """The last moment that can be restored; None when nothing can."""
        # Without a base in the catalogue no WAL leads anywhere, so windows alone are never enough.
        if self.newest is None:
            return None
        return max(self.newest.taken_at, self.wal_to or self.newest.taken_at)

    @property
    def proven_at(self) -> datetime | None:
        """When a restore of the whole database was last tried, and held."""
        proofs = [self.of(kind).proven_at for kind in WHOLE]
        return max((each for each in (*proofs, self.drilled_at) if each), default=None)

    @property
    def loss(self) -> timedelta | None:
        """How much work a failure right now would lose; None: all of it."""
        return None if self.restorable_to is None else self.at - self.restorable_to

    def of(self, kind: str) -> KindReadiness:
        """What there is of one kind."""
        return self.kinds.get(kind, KindReadiness())

    @property
    def shortcomings(self) -> tuple[Shortcoming, ...]:
        """What is missing, most urgent first."""
        found = {*self._missing(), *self._troubles()}
        return tuple(each for each in Shortcoming if each in found)

    @property
    def level(self) -> Level:
        """The answer in a word."""
        found = self.shortcomings
        if any(each in BAD for each in found):
            return Level.BAD
        return Level.WARNING if found else Level.GOOD

    def _missing(self) -> Iterator[Shortcoming]:
        loss = self.loss
        if loss is None:
            yield Shortcoming.NO_BACKUP
            return
        if loss > self.promise.loss + self.late:
            yield Shortcoming.TOO_MUCH_LOST
        if self.wal_to is not None and self.at - self.wal_to > USUAL_DELAY:
            yield Shortcoming.WAL_LATE
        if self.proven_at is None or self.at - self.proven_at > self.promise.proof + self.late:
            yield Shortcoming.UNPROVEN
        if self.newest is not None and self.needs_copy and not self.newest.has_copy:
            yield Shortcoming.NOT_OFF_SITE

    def _troubles(self) -> Iterator[Shortcoming]:
        if self.failed_drill is not None:
            yield Shortcoming.DRILL_FAILED
        if self.seconds is not None and self.seconds > self.promise.time.total_seconds():
            yield Shortcoming.TOO_SLOW
        if self.newest_damaged:
            yield Shortcoming.NEWEST_DAMAGED
        if self.damages:
            yield Shortcoming.DAMAGED
        if self.failed_attempt is not None:
            yield Shortcoming.ATTEMPT_FAILED

    def as_json(self) -> dict[str, Any]:
        """Return the answer for programs."""
        return {
            "environment": self.environment,
            "level": self.level.value,
            "shortcomings": [each.value for each in self.shortcomings],
            "restorable_to": self.restorable_to,
            "proven_at": self.proven_at,
            "restore_seconds": self.seconds,
            "newest_backup": self.newest.name if self.newest else None,
        }
