"""Findings and checks as pages show them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.urls import reverse
from django.utils.safestring import SafeString

from ops.admin.health_standing import is_overdue
from ops.admin.links import change_url
from ops.admin.words import ago, exactly, length, moment, tag
from ops.health.contract import Check
from ops.models import Area, CheckResult, CheckState, Finding, Severity

_SEVERITIES = {
    Severity.INFO: ("info", "info"),
    Severity.WARNING: ("warning", "warning"),
    Severity.CRITICAL: ("danger", "error"),
}
_STATES = {
    CheckState.WELL: ("success", "check_circle"),
    CheckState.FOUND: ("warning", "search"),
    CheckState.BLIND: ("warning", "visibility_off"),
    CheckState.FAILED: ("danger", "error"),
}


def severity_tag(severity: str) -> SafeString:
    """How bad it is."""
    known = Severity(severity)
    return tag(str(known.label), *_SEVERITIES[known])


@dataclass(frozen=True)
class FindingRow:
    """A finding as lists show it."""

    finding: Finding
    tag: SafeString
    link: str
    age: str
    exactly: str
    words: tuple[str, ...]  # whose, until when, why not
    buttons: tuple[tuple[str, str, str], ...]  # title, icon, address


@dataclass(frozen=True)
class CheckRow:
    """A check as pages show it. A template would call a Check itself, which can be called."""

    name: str
    area: str
    title: str
    about: str
    tag: SafeString
    ran: str
    exactly: str
    took: str
    findings: int
    is_overdue: bool


def finding_row(row: Finding, now: dt.datetime, *, buttons: bool) -> FindingRow:
    """A finding as lists show it."""
    return FindingRow(
        row,
        severity_tag(row.severity),
        change_url(row),
        ago(row.opened_at, now) if row.is_open else f"gone {ago(row.resolved_at or now, now)}",
        f"since {exactly(row.opened_at)}",
        tuple(_words(row, now)),
        tuple(_buttons(row, now)) if buttons else (),
    )


def _words(row: Finding, now: dt.datetime) -> list[str]:
    words = []
    if row.assigned_to:
        words.append(f"{row.assigned_to}'s")
    if row.acknowledged_at:
        words.append(f"known to {row.acknowledged_by} since {moment(row.acknowledged_at, now)}")
    if row.is_open and row.snoozed_until and row.is_snoozed(now):
        until = exactly(row.snoozed_until)[:16]
        words.append(f"snoozed by {row.snoozed_by} until {until}: {row.snooze_reason}")
    if row.accepted:
        words.append(f"accepted by the settings: {row.accepted}")
    if row.times_opened > 1:
        words.append(f"came back {_times(row.times_opened - 1)}")
    return words


def _buttons(row: Finding, now: dt.datetime) -> list[tuple[str, str, str]]:
    offered = []
    if row.is_open and row.acknowledged_at is None:
        offered.append(("Acknowledge", "done"))
    if row.is_open:
        offered.append(("Assign", "person_add"))
        asleep = row.is_snoozed(now)
        offered.append(("Wake", "notifications_active") if asleep else ("Snooze", "snooze"))
    return [
        (title, icon, reverse(f"admin:ops_finding_{title.lower()}", args=[row.pk]))
        for title, icon in offered
    ]


def facts(row: Finding, now: dt.datetime) -> list[tuple[str, str]]:
    """What is known about a finding, with its words."""

    def when(at: dt.datetime | None) -> str:
        return f"{exactly(at)} ({ago(at, now)})" if at else ""

    found = [
        ("Area", str(Area(row.area).label)),
        ("Concerns", row.subject),
        ("Open since", when(row.opened_at) if row.is_open else ""),
        ("Gone", when(row.resolved_at)),
        ("First seen", when(row.first_seen)),
        ("Last seen", when(row.last_seen)),
        ("Seen", f"{_times(row.times_seen)}, opened {_times(row.times_opened)}"),
        ("Assigned to", row.assigned_to),
        ("Key", f"{row.check_name}:{row.key}"),
    ]
    return [(name, value) for name, value in found if value]


def check_row(check: Check, result: CheckResult | None, now: dt.datetime) -> CheckRow:
    """A check as pages show it; `result` is None when it never ran."""
    known = (check.name, check.area, check.title, check.about)
    if result is None:
        return CheckRow(*known, tag("Never run", "", "help"), "never", "", "", 0, is_overdue=True)
    state = CheckState(result.state)
    return CheckRow(
        *known,
        tag(str(state.label), *_STATES[state]),
        ago(result.ran_at, now),
        exactly(result.ran_at),
        length(result.seconds),
        result.findings,
        is_overdue=is_overdue(check, result, now),
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
