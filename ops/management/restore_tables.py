"""What the command `restore` prints: what would happen, what happened, and what was restored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, Any

from rich.table import Table
from rich.text import Text

from ops.management import backup_tables
from ops.models import Restore, RestoreState
from ops.restores.complete.preflight import Plan
from ops.words import duration


def show_plan(out: IO[str], plan: Plan, options: dict[str, Any]) -> None:
    """Print what a restore would do, what is known, and what stands in its way."""
    if options["json"]:
        out.write(json.dumps(plan.as_json(), ensure_ascii=False, indent=2) + "\n")
        return
    about = f", in about {duration(plan.seconds)}" if plan.seconds else ""
    lines = [f"{plan.live} would be restored from {plan.origin}{about}:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(plan.steps, 1)]
    lines += plan.notes
    lines += [f"To confirm: {each.sentence}" for each in plan.questions]
    lines += [f"In the way: {each}" for each in plan.refusals]
    out.write("".join(f"{line}\n" for line in lines))


def show_outcome(out: IO[str], row: Restore, options: dict[str, Any]) -> None:
    """Print what was done, step by step, and how to take it back."""
    if options["json"]:
        out.write(json.dumps(as_json(row), ensure_ascii=False, indent=2) + "\n")
        return
    if row.state == RestoreState.UNDONE:
        out.write(
            f"{row.database} is again what it was before restore {row.pk}. What was restored, and "
            f"written since, is kept as {row.kept_database} until {row.kept_until:%Y-%m-%d %H:%M} "
            "UTC.\n"
        )
        return
    width = max((len(each["name"]) for each in row.phases), default=0)
    for each in row.phases:
        found = f"  {each['found']}" if each["found"] else ""
        out.write(f"  {each['name']:<{width}}  {duration(each['seconds']):>10}{found}\n")
    out.write(f"{row.note}\n")
    if row.state == RestoreState.SWAPPED and row.kept_database:
        out.write(f"To take it back: manage.py restore --undo {row.pk}\n")


def show_list(out: IO[str], rows: Iterable[Restore], options: dict[str, Any]) -> None:
    """Print restores, newest first, and which former databases are kept until when."""
    rows = list(rows)
    if options["json"]:
        out.write(json.dumps([as_json(row) for row in rows], ensure_ascii=False, indent=2) + "\n")
        return
    if not rows:
        out.write("Nothing was restored yet.\n")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("ID", "Begun (UTC)", "State", "From", "Kept", "Until"):
        table.add_column(name, overflow="fold")
    for row in rows:
        kept = row.kept_database if row.dropped_at is None else "dropped"
        cells = (
            str(row.pk), f"{row.started_at:%Y-%m-%d %H:%M}", row.get_state_display(), row.origin,
            kept or row.beside, f"{row.kept_until:%Y-%m-%d %H:%M}" if row.kept_until else "",
        )  # fmt: skip
        table.add_row(*(Text(each) for each in cells))
    backup_tables.console(out).print(table)


def as_json(row: Restore) -> dict[str, Any]:
    """What programs are told of a restore."""
    return {
        "restored": row.state in {RestoreState.SWAPPED, RestoreState.BESIDE},
        "id": row.pk,
        "state": row.state,
        "origin": row.origin,
        "holds": row.holds.isoformat() if row.holds else None,
        "database": row.database,
        "beside": row.beside,
        "kept_database": row.kept_database,
        "kept_until": row.kept_until.isoformat() if row.kept_until else None,
        "safety_backup": row.safety_backup.name if row.safety_backup else None,
        "note": row.note,
        "phases": row.phases,
    }
