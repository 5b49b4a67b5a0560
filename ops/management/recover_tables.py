"""What the command `recover` prints: the difference, what became of it, and former recoveries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from rich.table import Table
from rich.text import Text

from ops.management import backup_tables
from ops.models import Recovery, RecoveryState

_LONGEST = 60  # letters of a value shown


def show_recovery(
    out: IO[str], row: Recovery, options: dict[str, Any], *, is_shown: bool = False
) -> None:
    """Print the difference, unless it was shown before, and what was done about it."""
    if options["json"]:
        out.write(json.dumps(as_json(row), ensure_ascii=False, indent=2) + "\n")
        return
    if not is_shown:
        show_difference(out, row, options)
    out.write(f"{row.note}\n")
    tables = row.plan.get("tables", [])
    if row.state == RecoveryState.APPLIED and any(sum(t["planned"].values()) for t in tables):
        out.write(f"To take it back: manage.py recover --undo {row.pk}\n")


def show_difference(out: IO[str], row: Recovery, options: dict[str, Any]) -> None:
    """Print what differs, table by table, and what is to be known about it."""
    console = backup_tables.console(out)
    tables = row.plan.get("tables", [])
    shown = options["rows"]
    if tables:
        console.print(_counts(tables))
    if row.state == RecoveryState.PREVIEWED or shown is not None:
        for line in _samples(tables, 5 if shown is None else shown):
            console.print(line, markup=False)
    for title, sentences in (
        ("In the way", row.plan.get("conflicts", [])),
        ("Note", row.plan.get("notes", [])),
    ):
        for each in sentences:
            console.print(f"{title}: {each}", markup=False)


def show_list(out: IO[str], rows: Iterable[Recovery], options: dict[str, Any]) -> None:
    """Print recoveries, newest first."""
    rows = list(rows)
    if options["json"]:
        out.write(json.dumps([as_json(row) for row in rows], ensure_ascii=False, indent=2) + "\n")
        return
    if not rows:
        out.write("Nothing was recovered yet.\n")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("ID", "Begun (UTC)", "State", "What", "From"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.pk),
            f"{row.started_at:%Y-%m-%d %H:%M:%S}",
            row.get_state_display(),
            Text(row.subject),
            Text(row.origin),
        )
    backup_tables.console(out).print(table)


def as_json(row: Recovery) -> dict[str, Any]:
    """Return what programs are told about a recovery."""
    return {
        "id": row.pk,
        "state": row.state,
        "subject": row.subject,
        "origin": row.origin,
        "holds": row.holds.isoformat() if row.holds else None,
        "note": row.note,
        "plan": row.plan,
        "applied_at": row.applied_at.isoformat() if row.applied_at else None,
        "undone_at": row.undone_at.isoformat() if row.undone_at else None,
    }


def _counts(tables: list[dict[str, Any]]) -> Table:
    found = Table(box=None, pad_edge=False)
    found.add_column("Table", overflow="fold")
    heads = ("Missing", "Changed", "Extra", "Come back", "Set back", "Taken out")
    for name in heads:
        found.add_column(name, justify="right")
    for each in tables:
        planned = each["planned"]
        counts = [each["missing"], each["changed"], each["extra"]]
        counts += [planned["inserted"], planned["updated"], planned["deleted"]]
        found.add_row(Text(each["table"]), *(f"{count:,}" if count else "" for count in counts))
    return found


def _samples(tables: list[dict[str, Any]], most: int) -> Iterator[str]:
    for each in tables:
        for row in each["samples"][:most]:
            key = ", ".join(str(value) for value in row["key"].values())
            changes = ""
            if row["what"] == "changed":
                changes = "; ".join(
                    f"{name}: {_short(now)} → {_short(then)}"
                    for name, (now, then) in row["columns"].items()
                )
            yield f"  {each['table']} {key} {row['what']}{': ' if changes else ''}{changes}"


def _short(value: str | None) -> str:
    if value is None:
        return "null"
    return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")
