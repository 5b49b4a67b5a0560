"""Watching: what is due is looked at, measured, told and tidied up, again and again.

One watcher at a time for each database, by a lock on a session of its own that dies with it; others
stand by and take over. A database that does not answer is waited for, and told of: what can't be
recorded goes straight to people.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string

from ops.backups.lock import KEPT_ALIVE
from ops.health import look, notices, retention
from ops.health.channels import channels
from ops.health.contract import BlindError
from ops.health.errors import HealthError, NotRecordedError
from ops.health.sampling import take_samples
from ops.health.selection import due
from ops.health.statements import read_statements
from ops.models import Sample
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import PoolerError, ServerError, one_line
from ops.runs import OWNER

log = logging.getLogger(__name__)

EVERY = 30.0  # seconds between two ticks
SAMPLES_EVERY = timedelta(minutes=5)
TIDIED_EVERY = timedelta(days=1)
# A swap or a restart of the server is over before; what lasts longer is told.
TOLD_AFTER = timedelta(seconds=60)
LONGEST_PAUSE = 60.0  # seconds, while the database does not answer
# How long the watcher's own work took, by its kind: one row each.
METRIC, TICK, TIDYING = "watch_seconds", "tick", "tidying"
APPLICATION = "srvc watch"

_LOCK = (0x53525648, 1)  # "SRVH", so that no other application's lock is taken for ours
_SLACK = timedelta(seconds=20)
# A server whose machine vanished says nothing at all; nobody else would notice.
BOUNDED = {**KEPT_ALIVE, "tcp_user_timeout": 60_000}


class Stop:
    """Asked to stop: at once, but for what must not be cut off half-way."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._is_held = False

    def ask(self) -> None:
        """Stop; called by a signal's handler. Raises KeyboardInterrupt unless it is held."""
        self.asked.set()
        if not self._is_held:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a block end first."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self.asked.is_set():
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Ticked:
    """What one tick came to."""

    checks: int
    sent: int
    troubles: tuple[str, ...] = ()  # what did not work, in sentences; the rest did


def tick(now: datetime, stop: Stop | None = None) -> Ticked:
    """Do what is due at `now`. Doing it twice at once does nothing twice.

    Raises HealthError when nothing can be kept, and the database's errors when it is gone.
    """
    stop, began, troubles = stop or Stop(), time.monotonic(), []
    # First, for some checks tell of growth.
    if _is_due("database_bytes", "", SAMPLES_EVERY, now):
        troubles += _measure(now)
    checks = due(now)
    if checks:
        found = look.look_at(checks)
        if found.not_recorded:
            raise NotRecordedError(found.not_recorded)
    look.tidy(now)
    notices.announce_missed(now)
    with stop.held():
        delivered = notices.deliver(timezone.now())
    for path in settings.WATCHER_TIDIES:
        import_string(path)(now)
    if _is_due(METRIC, TIDYING, TIDIED_EVERY, now):
        tidying = time.monotonic()
        retention.prune(now)
        _remember(TIDYING, now, time.monotonic() - tidying)
    _remember(TICK, now, time.monotonic() - began)
    return Ticked(len(checks), delivered.sent, (*troubles, *delivered.failures))


class Lock:
    """The right to watch: an advisory lock of a session that does nothing else."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Hold it, from now on or still; False when somebody else does. Raises ServerError."""
        if self._connection is not None:
            try:
                self._connection.execute("SELECT")
            except psycopg.Error:
                # A swap ended the session, or the server did; the lock is gone with it.
                self.release()
            else:
                return True
        connection = Endpoint.of(OWNER).connect(application_name=APPLICATION, **BOUNDED)
        try:
            connection.execute("SET idle_session_timeout = 0")
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone()
        except psycopg.Error as error:
            connection.close()
            raise ServerError(f"The database did not answer: {one_line(error)}.") from None
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


@dataclass(frozen=True)
class _Away:
    """A way in which the database fails, that no finding can tell of; in sentences for people."""

    is_so: str
    is_over: str


_SILENT = _Away("The database does not answer", "The database answers again")
_UNRECORDED = _Away("The database does not take findings", "The database takes findings again")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


@dataclass
class Watcher:
    """Ticks until it is asked to stop, whatever becomes of the database meanwhile."""

    say: Callable[[str], None]  # what somebody may want to act upon
    note: Callable[[str], None]  # that all is in order
    stop: Stop = field(default_factory=Stop)
    every: float = EVERY  # seconds
    clock: Callable[[], datetime] = timezone.now

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._stands_by = False
        self._troubles: tuple[str, ...] = ()
        self._away: _Away | None = None
        self._away_since: datetime | None = None
        self._failures = 0
        self._told: set[str] = set()

    def run(self) -> None:
        """Watch until somebody asks to stop."""
        try:
            while not self.stop.asked.is_set():
                self.stop.asked.wait(self.turn())
        except KeyboardInterrupt:
            if not self.stop.asked.is_set():
                raise
        finally:
            self.close()

    def turn(self) -> float:
        """Do one tick, if it is ours to do; return the seconds until the next one.

        Raises PoolerError.
        """
        began = time.monotonic()
        try:
            if not self._lock.take():
                self._stand_by()
                return self.every
            self._answers(_SILENT)
            self._worked(tick(self.clock(), self.stop))
            self._answers(_UNRECORDED)
        except PoolerError:
            raise  # it would not mend itself; whoever started this has to be told
        except ServerError as error:
            return self._silent(str(error), _SILENT)
        except NotRecordedError as error:
            self._silent(str(error), _UNRECORDED)
        except (HealthError, DatabaseError, psycopg.Error) as error:
            if isinstance(error.__cause__ or error, psycopg.errors.ReadOnlySqlTransaction):
                self._silent(_sentence(error), _UNRECORDED)
            else:
                self._tell_troubles((_sentence(error),))
        except Exception:
            log.exception("a tick crashed")
            self._tell_troubles(("It crashed; the log says where.",))
        finally:
            connections[OWNER].close()
        return max(0.0, self.every - (time.monotonic() - began))

    def once(self) -> Ticked | None:
        """Do one tick; None when another watcher is at work. Raises what `tick` raises."""
        if not self._lock.take():
            return None
        return tick(self.clock(), self.stop)

    def close(self) -> None:
        """Let somebody else watch."""
        self._lock.release()

    def _stand_by(self) -> None:
        if not self._stands_by:
            self.say("another watcher is at work; standing by")
        self._stands_by = True
        self._answers(_SILENT)

    def _worked(self, ticked: Ticked) -> None:
        if self._stands_by:
            self.say("the other watcher is gone; watching")
            self._stands_by = False
        self._tell_troubles(ticked.troubles)
        if ticked.checks or ticked.sent:
            self.note(f"checks run: {ticked.checks}; messages sent: {ticked.sent}")

    def _tell_troubles(self, troubles: tuple[str, ...]) -> None:
        """Say what does not work when that changes, not at every tick."""
        for trouble in troubles:
            if trouble not in self._troubles:
                self.say(trouble)
        if self._troubles and not troubles:
            self.say("all of it works again")
        self._troubles = troubles

    # --- a database that does not answer, or takes no findings ------------------------------------

    def _silent(self, why: str, how: _Away) -> float:
        now = self.clock()
        if self._away != how:
            self._away, self._away_since, self._failures = how, now, 0
            self.say(f"{_lower(how.is_so)}; waiting for it. {why}")
        assert self._away_since is not None
        if not self._stands_by and now - self._away_since >= TOLD_AFTER:
            since = f"{self._away_since:%Y-%m-%d %H:%M} UTC"
            self._tell(f"{how.is_so} since {since}. {why}", now)
        self._failures += 1
        return min(2.0 ** (self._failures - 1), LONGEST_PAUSE)

    def _answers(self, how: _Away) -> None:
        if self._away != how or self._away_since is None:
            return
        now = self.clock()
        stretch = f"from {self._away_since:%Y-%m-%d %H:%M} to {now:%H:%M} UTC"
        self.say(f"{_lower(how.is_over)}; it did not {stretch}")
        told, self._told = self._told, set()
        self._away, self._away_since, self._failures = None, None, 0
        with self.stop.held():
            for channel in channels():
                if channel.name in told:
                    self._try(channel, f"{how.is_over}. It did not {stretch}.")

    def _tell(self, sentence: str, now: datetime) -> None:
        if notices.not_quiet(now) > now:
            return
        with self.stop.held():
            for channel in channels():
                if channel.name not in self._told and self._try(channel, sentence):
                    self._told.add(channel.name)

    def _try(self, channel: Any, sentence: str) -> bool:
        """Say it; True unless it is sure that it did not go out."""
        try:
            channel.say(sentence)
        except HealthError as error:
            self.say(str(error))
            return not channel.may_come_twice and notices.is_final(error)
        return True


def _measure(now: datetime) -> list[str]:
    """Take samples and read what statements cost; return what did not work."""
    troubles = []
    with Endpoint.of(OWNER).connect(application_name=APPLICATION) as connection:
        for work in (take_samples, read_statements):
            try:
                work(connection, now)
            except BlindError:
                pass  # a check tells it, and how to allow it
            except (DatabaseError, psycopg.Error) as error:
                if connection.broken:
                    raise
                troubles.append(f"Numbers could not be taken: {_sentence(error)}")
    return troubles


def _is_due(metric: str, subject: str, every: timedelta, now: datetime) -> bool:
    series = Sample.objects.using(OWNER).series(metric, subject)
    return not series.since(now - every + _SLACK).exists()


def _remember(work: str, now: datetime, seconds: float) -> None:
    series = Sample.objects.using(OWNER).series(METRIC, work)
    if not series.update(taken_at=now, value=seconds):
        Sample.objects.using(OWNER).create(metric=METRIC, subject=work, taken_at=now, value=seconds)


def _sentence(error: Exception) -> str:
    if isinstance(error, HealthError):
        return str(error)
    cause = error.__cause__ or error
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return "The database has no tables for findings yet; run `manage.py migrate`."
    return f"The database gave up ({one_line(cause)}); trying again."
