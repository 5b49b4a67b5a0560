"""Health for a terminal: how it is in each area, what is wrong, and what to do; as JSON too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ops.health.contract import Check
from ops.health.look import Look
from ops.health.verdict import NOT_RECORDED, AreaVerdict, Told, areas, told
from ops.management.reporting import printable
from ops.models import CheckResult, Severity
from ops.words import ago, duration

_COLOURS = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
}


def show_look(out: Console, look: Look) -> None:
    """Print how it is in each area, then each finding with its next step, the worst first."""
    table = _table("Area", "", "Worst", "Checks")
    table.columns[3].justify = "right"
    for area in areas(look):
        table.add_row(
            str(area.area.label), _state(area), Text(printable(_worst(area))), str(area.checks)
        )
    out.print(table)
    for each in told(look):
        out.print()
        _show_one(out, each, look.at)
    out.print()
    out.print(Text(_summary(look), "bold"))
    if look.not_recorded:
        out.print(Text(f"{NOT_RECORDED} {printable(look.not_recorded)}", "bold red"))


def look_as_json(look: Look) -> dict[str, Any]:
    """Return what programs are told of a look."""
    return {
        "at": look.at,
        "worst": look.worst,
        "not_recorded": look.not_recorded or None,
        "areas": [
            {
                "area": each.area,
                "well": each.is_well,
                "worst": each.worst.severity if each.worst else None,
                "checks": each.checks,
                "findings": each.loud,
                "quiet": each.quiet,
                "unseen": each.unseen,
            }
            for each in areas(look)
        ],
        "checks": [
            {
                "check": each.check.name,
                "area": each.check.area,
                "state": each.state,
                "seconds": round(each.seconds, 4),
            }
            for each in look.outcomes
        ],
        "findings": [_finding_as_json(each) for each in told(look)],
    }


def show_checks(
    out: Console, checks: Sequence[Check], results: dict[str, CheckResult], now: datetime
) -> None:
    """Print which checks there are, what each looks for, and how it went last."""
    table = _table("Check", "Area", "Looks for", "Every", "Last ran", "Came to")
    for each in checks:
        result = results.get(each.name)
        table.add_row(
            each.name,
            str(each.area.label),
            Text(each.title),
            duration(each.every.total_seconds()),
            ago(result.ran_at, now) if result else "never",
            str(result.get_state_display()) if result else "",
        )
    out.print(table)
    out.print(f"{len(checks)} checks.", markup=False)


def checks_as_json(
    checks: Sequence[Check], results: dict[str, CheckResult]
) -> list[dict[str, Any]]:
    """Return what programs are told of checks."""
    return [
        {
            "check": each.name,
            "area": each.area,
            "title": each.title,
            "about": each.about,
            "every_seconds": each.every.total_seconds(),
            "limit_seconds": each.limit,
            "documentation": each.documentation,
            "ran_at": result.ran_at if result else None,
            "state": result.state if result else None,
            "seconds": result.seconds if result else None,
        }
        for each in checks
        for result in [results.get(each.name)]
    ]


def _show_one(out: Console, each: Told, now: datetime) -> None:
    reported = each.reported
    style = _COLOURS[each.severity] if each.counts else "dim"
    label = "not seen" if each.is_blindness else str(each.severity.label).lower()
    out.print(
        Text.assemble(
            (f"{label}  ", style),
            (printable(reported.title), "bold" if each.counts else "dim"),
            (f"  {_age(each, now)}", "dim"),
        )
    )
    lines = [printable(reported.detail)] if reported.detail else []
    if quiet := _why_quiet(each):
        lines.append(quiet)
    for line in lines:
        out.print(Padding(Text(line, "" if each.counts else "dim"), (0, 0, 0, 2), expand=False))
    for line in printable(reported.next_step).splitlines():
        # Whole, however long: it is to be copied.
        out.print(Text(f"  → {line}", "green" if each.counts else "dim"), soft_wrap=True)
    out.print(Text(f"  {each.check.name} · {each.check.documentation}", "dim"), soft_wrap=True)


def _age(each: Told, now: datetime) -> str:
    if each.row is None:
        return "now"
    age = now - each.row.opened_at
    since = f"for {duration(age.total_seconds())}" if age.total_seconds() >= 60 else "new"
    again = each.row.times_opened - 1
    parts = [since]
    if again:
        parts.append(f"came back {again:,} times" if again > 1 else "came back once")
    if each.row.assigned_to:
        parts.append(f"{each.row.assigned_to}'s")
    return ", ".join(parts)


def _why_quiet(each: Told) -> str:
    row = each.row
    if each.counts or row is None:
        return ""
    if row.accepted:
        return f"Accepted: {printable(row.accepted)}"
    assert row.snoozed_until is not None
    reason = printable(row.snooze_reason)
    return f"Snoozed until {row.snoozed_until:%Y-%m-%d %H:%M} UTC by {row.snoozed_by}: {reason}"


def _state(each: AreaVerdict) -> Text:
    if each.worst is not None and not each.worst.is_blindness:
        return Text(str(each.worst.severity.label), _COLOURS[each.worst.severity])
    if each.unseen:
        return Text("Not seen", "yellow")
    return Text("Well", "green")


def _worst(each: AreaVerdict) -> str:
    parts = [each.worst.reported.title] if each.worst else []
    if each.loud > 1:
        parts.append(f"and {each.loud - 1} more")
    if each.unseen and not (each.worst and each.worst.is_blindness):
        parts.append(f"({each.unseen} not seen)")
    if each.quiet:
        parts.append(f"({each.quiet} quiet)")
    return " ".join(parts)


def _summary(look: Look) -> str:
    found = told(look)
    loud = [each for each in found if each.counts]
    seconds = sum(each.seconds for each in look.outcomes)
    took = f"{len(look.outcomes)} checks in {duration(seconds)}"
    quiet = f" {len(found) - len(loud)} snoozed or accepted." if len(found) > len(loud) else ""
    unseen = sum(each.unseen for each in areas(look))
    if not loud:
        well = f"{unseen} could not see everything" if unseen else "all is well"
        if look.not_recorded and not unseen:
            well = "nothing found"
        return f"{took}: {well}.{quiet}"
    counts = [
        f"{number} {'not seen' if severity is None else severity}"
        for severity in (*reversed(Severity), None)
        if (number := sum(_kind(each) is severity for each in loud))
    ]
    return f"{took}: {', '.join(counts)}.{quiet}"


def _kind(each: Told) -> Severity | None:
    return None if each.is_blindness else each.severity


def _finding_as_json(each: Told) -> dict[str, Any]:
    reported, row = each.reported, each.row
    return {
        "check": each.check.name,
        "key": reported.key,
        "area": each.check.area,
        "severity": each.severity,
        "title": reported.title,
        "detail": reported.detail,
        "subject": reported.subject,
        "next_step": reported.next_step,
        "documentation": each.check.documentation,
        "unseen": each.is_blindness,
        "counts": each.counts,
        "since": row.opened_at if row else None,
        "first_seen": row.first_seen if row else None,
        "times_seen": row.times_seen if row else None,
        "times_opened": row.times_opened if row else None,
        "assigned_to": row.assigned_to if row else "",
        "acknowledged_by": row.acknowledged_by if row else "",
        "snoozed_until": row.snoozed_until if row else None,
        "snooze_reason": row.snooze_reason if row else "",
        "accepted": row.accepted if row else "",
    }


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
