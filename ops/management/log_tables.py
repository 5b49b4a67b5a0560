"""The server's log for a terminal: a message after the other, or in groups."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ops.health.inspection.report import Column, Form, Report
from ops.health.serverlog.entries import Entry
from ops.health.serverlog.summary import Summary
from ops.management.reporting import printable

_COLOURS = {
    "fatal": "bold red",
    "error": "red",
    "warning": "yellow",
    "notice": "cyan",
    "debug": "dim",
}
_STATEMENT = 2_000  # characters of a statement on a terminal; programs get all of it


def show_entry(out: Console, entry: Entry) -> None:
    """Print a message with what belongs to it."""
    at = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}" if entry.at else "                   "
    whose = "@".join(part for part in (entry.user, entry.database) if part)
    out.print(
        Text.assemble(
            (at, "dim"),
            "  ",
            (f"{entry.level:<7}", _COLOURS.get(entry.level, "")),
            "  ",
            (f"{entry.topic}  " if entry.topic not in {"error", "other"} else "", "bold"),
            printable(entry.message),
            (f"  {printable(whose)} [{entry.pid}]" if whose else "", "dim"),
        ),
        soft_wrap=True,
    )
    told = [(name, text) for name, text in entry.extra.items() if text]
    if entry.statement:
        told.append(("statement", entry.statement))
    for name, text in told:
        shown = text if len(text) <= _STATEMENT else f"{text[: _STATEMENT - 1]}…"
        out.print(Padding(Text(f"{name}: {printable(shown)}", "dim"), (0, 0, 0, 4), expand=False))


def summary_report(summary: Summary) -> Report:
    """Return the groups of a log as a report."""
    columns = (
        Column("level", "Level", style=lambda level: _COLOURS.get(level, "")),
        Column("topic", "About"),
        Column("count", "Times", Form.NUMBER),
        Column("first", "First", Form.MOMENT),
        Column("last", "Last", Form.MOMENT),
        Column("milliseconds", "Took", Form.MILLISECONDS),
        Column("longest", "Longest", Form.MILLISECONDS),
        Column("example", "Such as", Form.STATEMENT),
    )
    groups = summary.ordered()
    rows: tuple[tuple[Any, ...], ...] = tuple(
        (
            each.level, each.topic, each.count, each.first, each.last,
            each.milliseconds or None, each.longest or None, each.example,
        )
        for each in groups
    )  # fmt: skip
    count = sum(each.count for each in groups)
    return Report("log", f"{count:,} messages of {len(groups):,} kinds", columns, rows)
