"""A readiness in words: the one sentence for each shortcoming, on pages and in commands alike."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from ops import words
from ops.readiness.value import Readiness, Shortcoming


def sentence(ready: Readiness) -> str:
    """Return the whole answer: up to when, proven when, in how long, and what is missing."""
    return " ".join([answer(ready), *(shortcoming(each, ready) for each in ready.shortcomings)])


def answer(ready: Readiness) -> str:
    """Return up to when, proven when, in how long."""
    if ready.restorable_to is None:
        return f"Nothing can be restored: there is no good backup of {ready.environment}."
    to = f"{timezone.localtime(ready.restorable_to):%Y-%m-%d %H:%M %Z}"
    said = [f"Restorable to {to} ({words.ago(ready.restorable_to, ready.at)})"]
    proven = ready.proven_at
    said.append(f"last proven {words.ago(proven, ready.at)}" if proven else "never proven")
    if ready.seconds is not None:
        said.append(f"in {words.duration(ready.seconds)}")
    return f"{', '.join(said)}."


def shortcoming(which: Shortcoming, ready: Readiness) -> str:
    """Return what is missing, what that means, and what to do."""
    return _TEXTS[which].format_map(_Facts(ready))


_TEXTS = {
    Shortcoming.NO_BACKUP: "A failure now would lose everything. Take a full backup.",
    Shortcoming.TOO_MUCH_LOST: "A failure now would lose {loss} of work; promised is "
    "{promised_loss} at most. Take a backup, and see why none was taken.",
    Shortcoming.DRILL_FAILED: "A drill failed and none of its kind has passed since ({drilled}).",
    Shortcoming.NEWEST_DAMAGED: "The newest backup is damaged or missing ({newest_damaged}).",
    Shortcoming.WAL_LATE: "No WAL has been stored for {wal_late}. See whether walreceiver runs.",
    Shortcoming.UNPROVEN: "{proof} Run a drill: `manage.py drill`.",
    Shortcoming.TOO_SLOW: "Restoring took {took}, longer than the {promised_time} promised.",
    Shortcoming.ATTEMPT_FAILED: "The last attempt at a backup failed {attempted}.",
    Shortcoming.DAMAGED: "{damaged} damaged or missing.",
    Shortcoming.NOT_OFF_SITE: "{off_site}",
}


class _Facts(dict[str, str]):
    """What the texts name, as words, made when a text asks for it."""

    def __init__(self, ready: Readiness) -> None:
        super().__init__()
        self._ready = ready

    def __missing__(self, name: str) -> str:
        told: str = getattr(self, f"_{name}")()
        return told

    def _loss(self) -> str:
        return _length(self._ready.loss or timedelta(0))

    def _promised_loss(self) -> str:
        return _length(self._ready.promise.loss)

    def _promised_time(self) -> str:
        return _length(self._ready.promise.time)

    def _took(self) -> str:
        return words.duration(self._ready.seconds or 0)

    def _drilled(self) -> str:
        return self._ready.failed_drill.subject if self._ready.failed_drill else ""

    def _newest_damaged(self) -> str:
        return self._ready.newest_damaged

    def _wal_late(self) -> str:
        return _length(self._ready.at - (self._ready.wal_to or self._ready.at))

    def _proof(self) -> str:
        proven = self._ready.proven_at
        if proven is None:
            return "No backup has been proven by restoring it."
        return f"The last proof by a restore was {self._ago(proven)}."

    def _attempted(self) -> str:
        attempt = self._ready.failed_attempt
        return self._ago(attempt.at) if attempt else ""

    def _damaged(self) -> str:
        number = len(self._ready.damages)
        copies = all(each.storage for each in self._ready.damages)
        if number == 1:
            return f"1 {'off-site copy' if copies else 'backup'} is"
        return f"{number:,} {'off-site copies' if copies else 'backups or copies'} are"

    def _off_site(self) -> str:
        if not self._ready.has_second_storage:
            return "No off-site copy is configured (BACKUP_COPY_STORAGE)."
        return "The newest backup has no good copy off-site."

    def _ago(self, moment: datetime) -> str:
        return words.ago(moment, self._ready.at)


def _length(time: timedelta) -> str:
    return words.duration(time.total_seconds())
