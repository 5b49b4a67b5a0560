"""Drills for a terminal: the ladder of one, and the list of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.models import Drill, DrillVerdict
from ops.words import duration

_MARKS = {
    "held": ("✓ held", "green"),
    "failed": ("✗ failed", "bold red"),
    "skipped": ("- skipped", "yellow"),
    "unreached": ("- not reached", "dim"),
}
_COLOURS = {
    DrillVerdict.PASSED: "green",
    DrillVerdict.INCOMPLETE: "yellow",
    DrillVerdict.FAILED: "bold red",
    DrillVerdict.ABORTED: "yellow",
    DrillVerdict.RUNNING: "cyan",
}


def show_ladder(out: Console, done: Drill) -> None:
    """Print each step of a drill, and its verdict."""
    table = _table("", "Step", "Took", "Found")
    for each in done.steps:
        mark, colour = _MARKS[each["state"]]
        took = "" if each["state"] == "unreached" else duration(each["seconds"])
        table.add_row(Text(mark, colour), each["title"], took, Text(each["found"]))
    out.print(table)
    out.print(Text.assemble(_verdict(done), f": {done.subject}. {done.note}"))


def show_drills(out: Console, drills: Sequence[Drill], readiness: str) -> None:
    """Print a line for each drill, and how things stand."""
    if drills:
        table = _table("ID", "When (UTC)", "Verdict", "What", "Usable after", "Ends before", "Took")
        for each in drills:
            table.add_row(
                str(each.pk),
                f"{each.started_at:%Y-%m-%d %H:%M:%S}",
                _verdict(each),
                Text(each.subject),
                _seconds(each.rto_seconds),
                _seconds(each.rpo_seconds),
                _seconds(each.seconds),
            )
        out.print(table)
    else:
        out.print("There was no drill yet.")
    out.print(readiness, markup=False)


def as_json(done: Drill) -> dict[str, Any]:
    """Return what programs are told of a drill."""
    return {
        "id": done.pk,
        "subject": done.subject,
        "backup": done.backup.name if done.backup else None,
        "target": done.target or None,
        "verdict": done.verdict,
        "note": done.note,
        "steps": done.steps,
        "rto_seconds": done.rto_seconds,
        "rpo_seconds": done.rpo_seconds,
        "seconds": done.seconds,
        "holds": done.holds.isoformat() if done.holds else None,
        "started_at": done.started_at.isoformat(),
        "finished_at": done.finished_at.isoformat() if done.finished_at else None,
    }


def _verdict(done: Drill) -> Text:
    verdict = DrillVerdict(done.verdict)
    return Text(str(verdict.label), _COLOURS[verdict])


def _seconds(value: float | None) -> str:
    return "" if value is None else duration(value)


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
