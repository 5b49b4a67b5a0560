"""Looking: run checks, keep what they report, and say how it is. What commands and pages call."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from ops.health.context import Context
from ops.health.contract import Check
from ops.health.notices import announce
from ops.health.recording import Change, forget_checks, record
from ops.health.running import Outcome, run_checks
from ops.health.selection import all_checks, chosen
from ops.models import CheckResult, Finding, Run, RunKind, Severity
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError, one_line
from ops.progress import Counter, Progress, Several
from ops.runs import OWNER, Asker, ask, running

log = logging.getLogger(__name__)
# Seconds of looking that a killed run may lose.
_KEPT_EVERY = 5.0


@dataclass(frozen=True)
class Look:
    """What one look came to."""

    at: datetime
    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...] = ()
    not_recorded: str = ""  # why nothing was kept: the database is away
    # The kept rows of what was reported, by (check, key): since when, snoozed, accepted.
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """The worst that counts: what is snoozed or accepted does not; None when all is well."""
        severities = [
            Severity(each.severity)
            for outcome in self.outcomes
            for each in outcome.reported
            if self._counts(outcome.check.name, each.key)
        ]
        return max(severities, key=lambda severity: severity.rank, default=None)

    def _counts(self, check: str, key: str) -> bool:
        row = self.findings.get((check, key[:250]))
        return row is None or row.is_loud(self.at)


def look_at(
    checks: Sequence[Check], *, deep: bool = False, progress: Progress | None = None
) -> Look:
    """Run checks now, keep what they report, and return it.

    `deep` gives checks that read much all the time they want. Raises CancelledError; what was
    reported until then is kept. A database that is away is an outcome, not an error.
    """
    progress = progress or Counter()
    now = timezone.now()
    context = Context(Endpoint.of(OWNER), now, deep=deep)
    outcomes: list[Outcome] = []
    memories, not_recorded = _memories()
    keeping = _Record(now, not_recorded)
    try:
        for outcome in run_checks(checks, context, memories, progress):
            outcomes.append(outcome)
            keeping.take(outcome)
    finally:
        context.close()
        keeping.keep()
    places = {check.name: place for place, check in enumerate(checks)}
    outcomes.sort(key=lambda outcome: places[outcome.check.name])
    if keeping.not_kept:
        return Look(now, tuple(outcomes), tuple(keeping.changes), keeping.not_kept)
    return Look(now, tuple(outcomes), tuple(keeping.changes), "", _kept(checks))


def ask_for_look(*, by: Asker, areas: Sequence[str] = (), checks: Sequence[str] = ()) -> Run:
    """Record that checks were asked for; `look` runs them. Raises HealthError for unknown ones."""
    chosen(areas, checks)
    subject = ", ".join([*areas, *checks]) or "everything"
    arguments: dict[str, Any] = {"areas": list(areas), "checks": list(checks)}
    return ask(RunKind.HEALTH, subject, by=by, arguments=arguments)


def look(run: Run, progress: Progress | None = None) -> Look:
    """Run the checks that a run asks for, with live progress. Raises OpsError."""
    checks = chosen(run.arguments.get("areas", ()), run.arguments.get("checks", ()))
    with running(run) as own:
        found = look_at(checks, progress=Several(own, progress) if progress else own)
        own.say(_summary(found))
    return found


def tidy(now: datetime) -> None:
    """Forget checks that settings no longer list."""
    with transaction.atomic(using=OWNER):
        announce(forget_checks([check.name for check in all_checks()], now), now)


class _Record:
    """Keeps outcomes, a few seconds' worth at once.

    A transaction for each would take longer than most checks do.
    """

    def __init__(self, now: datetime, not_kept: str) -> None:
        self.changes: list[Change] = []
        self.not_kept = not_kept  # why nothing is kept: the database is away
        self._now = now
        self._waiting: list[Outcome] = []
        self._kept_at = time.monotonic()

    def take(self, outcome: Outcome) -> None:
        """Keep an outcome, soon."""
        self._waiting.append(outcome)
        if time.monotonic() - self._kept_at > _KEPT_EVERY:
            self.keep()

    def keep(self) -> None:
        """Keep what waits, and who is to be told of it, in one transaction."""
        if self._waiting and not self.not_kept:
            try:
                with transaction.atomic(using=OWNER):
                    changes = record(self._waiting, self._now)
                    announce(changes, self._now)
                self.changes += changes
            except (DatabaseError, psycopg.Error) as error:
                self.not_kept = _sentence(error)
        self._waiting, self._kept_at = [], time.monotonic()


def _memories() -> tuple[dict[str, dict[str, Any]], str]:
    try:
        rows = CheckResult.objects.using(OWNER).values_list("check_name", "memory")
        return dict(rows), ""
    except DatabaseError as error:
        return {}, _sentence(error)


def _kept(checks: Sequence[Check]) -> dict[tuple[str, str], Finding]:
    names = [check.name for check in checks]
    rows = Finding.objects.using(OWNER).open().filter(check_name__in=names)
    return {(row.check_name, row.key): row for row in rows}


def _sentence(error: Exception) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return "The database has no tables for findings yet; run `manage.py migrate`."
    if isinstance(cause, ServerError):
        return str(cause)
    if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
        return (
            "The database takes no writes: it is set read-only, or its server is a standby. The "
            "check `writable` says which, and what to do."
        )
    return f"The database did not take it ({one_line(cause)})."


def _summary(found: Look) -> str:
    count = sum(len(outcome.reported) for outcome in found.outcomes)
    checks = len(found.outcomes)
    worst = f", the worst {found.worst.label.lower()}" if found.worst else ""
    noun = "finding" if count == 1 else "findings"
    if count or found.not_recorded:
        unrecorded = f" Not recorded: {found.not_recorded}" if found.not_recorded else ""
        return f"{checks} checks, {count} {noun}{worst}.{unrecorded}"
    return f"{checks} checks: all is well."
