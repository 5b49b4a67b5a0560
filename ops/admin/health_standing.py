"""Is it well? One sentence, and the same for each area, of what checks found and when they ran."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from ops.admin.words import about, ago
from ops.health.contract import Check
from ops.health.selection import all_checks
from ops.models import Area, CheckResult, CheckState, Finding, Severity

GOOD, INFO, WARNING, DANGER, UNKNOWN = "good", "info", "warning", "danger", "plain"
# The watcher ticks every minute; after this long nobody is looking any more.
STOPPED = dt.timedelta(minutes=15)
_LEVELS = {Severity.INFO: INFO, Severity.WARNING: WARNING, Severity.CRITICAL: DANGER}
_BLIND = frozenset({CheckState.BLIND, CheckState.FAILED})


@dataclass(frozen=True)
class AreaStanding:
    """How it is in one area, as far as anybody looked."""

    area: Area
    level: str
    word: str
    worst: Finding | None
    loud: int
    checks: int
    notes: tuple[str, ...]  # what was not looked at, or not seen


@dataclass(frozen=True)
class HealthStanding:
    """The answer."""

    level: str
    sentence: str
    details: tuple[str, ...]
    areas: tuple[AreaStanding, ...]
    loud: int
    quiet: int  # open, but snoozed or accepted
    looked_at: dt.datetime | None
    is_stopped: bool  # somebody looked once, and nobody does any more


def is_overdue(check: Check, result: CheckResult | None, now: dt.datetime) -> bool:
    """Whether a check has not run for so long that what it said is no longer worth much."""
    return result is None or now - result.ran_at > max(3 * check.every, STOPPED)


def health_standing(now: dt.datetime) -> HealthStanding:
    """Return how it stands, by two queries."""
    results = {row.check_name: row for row in CheckResult.objects.defer("memory")}
    rows = list(Finding.objects.open().worst_first().defer("detail", "next_step"))
    return standing(all_checks(), results, rows, now)


def standing(
    checks: Sequence[Check],
    results: dict[str, CheckResult],
    findings: Sequence[Finding],
    now: dt.datetime,
) -> HealthStanding:
    """Tell how it stands; `findings` are the open ones, the worst first."""
    loud = [row for row in findings if row.is_loud(now)]
    areas = tuple(
        _area(
            area,
            [check for check in checks if check.area == area],
            results,
            [row for row in loud if row.area == area],
            now,
        )
        for area in Area
    )
    looked_at = max((row.ran_at for row in results.values()), default=None)
    stopped = looked_at is not None and now - looked_at > STOPPED
    level, sentence = _answer(loud, areas, looked_at, now, stopped=stopped)
    return HealthStanding(
        level,
        sentence,
        tuple(_details(areas, looked_at, now, stopped=stopped)),
        areas,
        len(loud),
        len(findings) - len(loud),
        looked_at,
        stopped,
    )


def _area(
    area: Area,
    checks: Sequence[Check],
    results: dict[str, CheckResult],
    loud: Sequence[Finding],
    now: dt.datetime,
) -> AreaStanding:
    never = [check for check in checks if check.name not in results]
    late = [
        check
        for check in checks
        if check.name in results and is_overdue(check, results[check.name], now)
    ]
    unseen = [
        check for check in checks if check.name in results and results[check.name].state in _BLIND
    ]
    notes = [
        f"{_of(len(some), len(checks))} {words}"
        for some, words in (
            (never, "never run"),
            (late, "not run for long"),
            (unseen, "could not see everything"),
        )
        if some
    ]
    if loud:
        severity = Severity(loud[0].severity)
        level, word = _LEVELS[severity], str(severity.label)
    elif len(never) == len(checks):
        level, word = UNKNOWN, "Not looked at" if checks else "No checks"
    elif notes:
        level, word = WARNING, "Not all seen"
    else:
        level, word = GOOD, "Well"
    worst = loud[0] if loud else None
    return AreaStanding(area, level, word, worst, len(loud), len(checks), tuple(notes))


def _answer(
    loud: Sequence[Finding],
    areas: Sequence[AreaStanding],
    looked_at: dt.datetime | None,
    now: dt.datetime,
    *,
    stopped: bool,
) -> tuple[str, str]:
    if looked_at is None and not loud:
        return UNKNOWN, "Nothing has been looked at yet"
    if loud and loud[0].severity != Severity.INFO:
        severity = Severity(loud[0].severity)
        return _LEVELS[severity], _counted(loud)
    if stopped:
        assert looked_at is not None
        return WARNING, f"Nobody has looked for {about((now - looked_at).total_seconds())}"
    if any(area.checks and area.level in {WARNING, UNKNOWN} for area in areas):
        return WARNING, "Nothing wrong was found, but not everything was looked at"
    if loud:
        noun = "thing is" if len(loud) == 1 else "things are"
        return GOOD, f"It is well; {len(loud)} {noun} worth knowing"
    return GOOD, "All is well"


def _counted(loud: Sequence[Finding]) -> str:
    """The only one by its name; more by their number."""
    if len(loud) == 1:
        return loud[0].title
    counts = [
        (str(severity.label).lower(), sum(row.severity == severity for row in loud))
        for severity in (Severity.CRITICAL, Severity.WARNING)
    ]
    nouns = {"critical": ("critical finding", "critical findings"), "warning": ("warning",) * 2}
    nouns["warning"] = ("warning", "warnings")
    words = [f"{number} {nouns[name][number != 1]}" for name, number in counts if number]
    return " and ".join(words)


def _details(
    areas: Sequence[AreaStanding],
    looked_at: dt.datetime | None,
    now: dt.datetime,
    *,
    stopped: bool,
) -> list[str]:
    checks = sum(area.checks for area in areas)
    start = "Start the watcher: `make run` does, on a server `manage.py watch`."
    if looked_at is None:
        return [f"None of {checks} checks has run, so nobody knows how it is. {start}"]
    if stopped:
        told = f"The newest look was {ago(looked_at, now)}"
        return [f"{told}: what stands here may be over, and what is new is not here. {start}"]
    return [f"{checks} checks in {len(areas)} areas, the newest look {ago(looked_at, now)}."]


def _of(some: int, all_of_them: int) -> str:
    noun = "check" if all_of_them == 1 else "checks"
    return f"{some} of {all_of_them} {noun}"
