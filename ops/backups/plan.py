"""What the settings promise: which backups are taken when, how long they stay, how often one is
proven, and how much time may be lost (BACKUP_PLAN).

A rule keeps the newest good backup of each of the last so many hours, days, weeks, months or years
that have one, counted in UTC. Days without a backup use nothing up: when nobody takes backups any
more, the last ones stay.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from django.conf import settings

from ops.backups.errors import BackupError
from ops.models import BackupKind

KINDS = tuple(kind.value for kind in BackupKind if kind is not BackupKind.FOREIGN)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_CADENCE = re.compile(
    r"(?:(?P<hourly>hourly) :(?P<minute>\d\d)"
    r"|every (?P<hours>\d{1,2}) hours :(?P<past>\d\d)"
    r"|daily (?P<daily>\d\d:\d\d)"
    r"|weekly (?P<weekday>[a-z]+) (?P<weekly>\d\d:\d\d)"
    r"|monthly (?P<day>\d{1,2}) (?P<monthly>\d\d:\d\d))"
)
_FORMS = "hourly :15, every 6 hours :15, daily 02:00, weekly sunday 01:00, monthly 1 03:00"


@dataclass(frozen=True)
class Keep:
    """How many of the last hours, days … keep their newest backup."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def keeps_something(self) -> bool:
        """Whether any rule keeps anything."""
        return any(getattr(self, rule.name) for rule in fields(self))


@dataclass(frozen=True)
class Cadence:
    """How often a backup is taken."""

    text: str
    cron: str  # the five fields of a crontab line
    every: timedelta


@dataclass(frozen=True)
class KindPlan:
    """What is promised about one kind of backup."""

    kind: str
    keep: Keep
    minimum_age: timedelta  # nothing younger is deleted, whatever the rules say
    cadence: Cadence | None = None  # None: taken by hand
    drill: timedelta | None = None  # one is proven at least this often


@dataclass(frozen=True)
class Plan:
    """What is promised about backups as a whole."""

    kinds: Mapping[str, KindPlan]
    rpo: timedelta  # how much work may be lost
    rto: timedelta  # how long restoring may take
    failed_after: timedelta  # failed and missing ones are deleted after this

    def of(self, kind: str) -> KindPlan:
        """Return what is promised about a kind."""
        return self.kinds[kind]


def plan() -> Plan:
    """Return the plan for the storage. Raises BackupError when the setting is nonsense."""
    return _plan("BACKUP_PLAN", settings.BACKUP_PLAN)


def plan_of_copies() -> Plan:
    """Return the plan for the off-site copies: BACKUP_COPY_PLAN, or else the same."""
    if getattr(settings, "BACKUP_COPY_PLAN", None) is None:
        return plan()
    return _plan("BACKUP_COPY_PLAN", settings.BACKUP_COPY_PLAN)


def problems(given: Any) -> list[str]:
    """Say what is wrong with a plan, in parts of sentences; nothing when all is well."""
    return _Reading(given).problems


def cron_lines(wanted: Plan, *, command: str, physical: bool = True) -> list[str]:
    """Return the crontab's lines for a plan, in the machine's own time zone.

    `command` is what runs manage.py, such as `cd /srv/srvc && .venv/bin/python manage.py`. Without
    `physical` nothing that needs the replication login is in them.
    """
    lines = []
    for kind in wanted.kinds.values():
        needs_replication = kind.kind in {BackupKind.BASE, BackupKind.INCREMENTAL}
        if kind.cadence is None or (needs_replication and not physical):
            continue
        lines.append(f"{kind.cadence.cron} {command} backup --{kind.kind}")
    lines.append(f"30 3 * * * {command} verify --latest")
    if wanted.of(BackupKind.MEDIA).cadence is not None:
        lines.append(f"40 3 * * * {command} verify --kind media")
    if physical:
        lines.append(f"50 3 * * * {command} verify --wal")
    drills = [kind for kind in wanted.kinds.values() if kind.drill]
    for number, kind in enumerate(drills):
        if kind.kind in {BackupKind.BASE, BackupKind.INCREMENTAL} and not physical:
            continue
        assert kind.drill is not None
        lines.append(
            f"{30 + number * 5} {_days(kind.drill)} {command} drill --latest --kind {kind.kind}"
        )
    lines.append(f"0 6 * * * {command} backups --prune --yes")
    return lines


def manage_command(folder: str) -> str:
    """Return how a crontab runs manage.py of this environment."""
    parts = ["cd", shlex.quote(folder), "&&"]
    if settings.PRODUCTION_LIKE:
        parts.append(f"SRVC_ENV={shlex.quote(settings.ENVIRONMENT)}")
    return " ".join([*parts, ".venv/bin/python", "manage.py"])


def _days(drill: timedelta) -> str:
    if drill < timedelta(days=7):
        return "4 * * *"
    return "4 * * 1" if drill < timedelta(days=28) else "4 2 * *"


def _plan(setting: str, given: Any) -> Plan:
    reading = _Reading(given)
    if reading.problems:
        raise BackupError(
            f"{setting} {reading.problems[0]}. Nothing was done, and no backup was deleted. "
            "Correct it in srvc/settings.py."
        )
    return reading.plan


class _Reading:
    """One pass over a setting, which remembers everything that is wrong with it."""

    def __init__(self, given: Any) -> None:
        self.problems: list[str] = []
        if not isinstance(given, Mapping):
            self.problems.append("is no dict")
            return
        self._unknown("", given, ("kinds", "rpo", "rto", "failed_after"))
        kinds = given.get("kinds")
        if not isinstance(kinds, Mapping):
            self.problems.append("has no dict of kinds")
            kinds = {}
        self._unknown("kinds", kinds, KINDS)
        found = {kind: self._kind(kind, kinds.get(kind, {})) for kind in KINDS}
        self.plan = Plan(
            kinds=found,
            rpo=self._span("rpo", given.get("rpo")),
            rto=self._span("rto", given.get("rto")),
            failed_after=self._span("failed_after", given.get("failed_after")),
        )
        self._fit(found)

    def _kind(self, kind: str, given: Any) -> KindPlan:
        if not isinstance(given, Mapping):
            self.problems.append(f"has a {kind} that is no dict")
            given = {}
        self._unknown(kind, given, ("cadence", "keep", "minimum_age", "drill"))
        keep = given.get("keep", {})
        if not isinstance(keep, Mapping):
            self.problems.append(f"keeps {keep!r} of {kind}, which is no dict")
            keep = {}
        self._unknown(f"{kind}: keep", keep, [rule.name for rule in fields(Keep)])
        rules = {rule: self._count(kind, rule, number) for rule, number in keep.items()}
        known = {rule.name for rule in fields(Keep)}
        drill = given.get("drill")
        return KindPlan(
            kind=kind,
            keep=Keep(**{rule: number for rule, number in rules.items() if rule in known}),
            minimum_age=self._span(
                f"{kind}: minimum_age", given.get("minimum_age", timedelta(days=7))
            ),
            cadence=self._cadence(kind, given.get("cadence")),
            drill=None if drill is None else self._span(f"{kind}: drill", drill),
        )

    def _fit(self, kinds: Mapping[str, KindPlan]) -> None:
        """Find promises that no schedule of this plan can keep."""
        for kind in kinds.values():
            if kind.cadence and not kind.keep.keeps_something:
                self.problems.append(f"takes {kind.kind} backups and keeps none of them")
        base, incremental = kinds[BackupKind.BASE], kinds[BackupKind.INCREMENTAL]
        if incremental.cadence and not base.cadence:
            self.problems.append("takes incremental backups without ever taking a base")
        scheduled = [kind.cadence.every for kind in kinds.values() if kind.cadence]
        if not scheduled:
            self.problems.append("takes no backup by itself")
        elif not base.cadence and min(scheduled) > self.plan.rpo:
            # With base backups WAL is what keeps the promise.
            self.problems.append(
                f"promises to lose no more than {self.plan.rpo}, and takes a backup every "
                f"{min(scheduled)} only"
            )

    def _unknown(self, where: str, given: Mapping[Any, Any], known: Any) -> None:
        for name in sorted(map(str, set(given) - set(known))):
            inside = f" in {where}" if where else ""
            self.problems.append(f"has {name!r}{inside}, which is none of {', '.join(known)}")

    def _span(self, where: str, value: Any) -> timedelta:
        if isinstance(value, timedelta) and timedelta(0) <= value <= timedelta(days=36_500):
            return value
        self.problems.append(f"has {value!r} as {where}; a timedelta belongs there")
        return timedelta(0)

    def _count(self, kind: str, rule: str, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100_000:
            return value
        self.problems.append(f"keeps {value!r} {rule} of {kind}; a whole number belongs there")
        return 0

    def _cadence(self, kind: str, value: Any) -> Cadence | None:
        if value is None:
            return None
        found = _CADENCE.fullmatch(value) if isinstance(value, str) else None
        made = _made_of(value, found) if found else None
        if made is None:
            self.problems.append(f"takes {kind} backups {value!r}; write one of {_FORMS}")
        return made


def _made_of(text: str, found: re.Match[str]) -> Cadence | None:
    part: Callable[[str], str] = lambda name: found[name] or ""  # noqa: E731
    time = part("daily") or part("weekly") or part("monthly")
    hour, minute = time.split(":") if time else ("", part("minute") or part("past"))
    if int(minute) > 59 or (hour and int(hour) > 23):
        return None
    at = f"{int(minute)} {int(hour)}" if hour else f"{int(minute)}"
    if part("hourly"):
        return Cadence(text, f"{at} * * * *", timedelta(hours=1))
    if hours := part("hours"):
        # cron starts anew at midnight, so only divisors of a day are evenly spread.
        if int(hours) not in {2, 3, 4, 6, 8, 12}:
            return None
        return Cadence(text, f"{at} */{int(hours)} * * *", timedelta(hours=int(hours)))
    if part("daily"):
        return Cadence(text, f"{at} * * *", timedelta(days=1))
    if weekday := part("weekday"):
        if weekday not in _WEEKDAYS:
            return None
        return Cadence(text, f"{at} * * {_WEEKDAYS.index(weekday)}", timedelta(days=7))
    # A 29th to 31st would skip months.
    if not 1 <= int(part("day")) <= 28:
        return None
    return Cadence(text, f"{at} {int(part('day'))} * *", timedelta(days=31))
