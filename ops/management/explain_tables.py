"""Plans of statements for a terminal, and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.health.inspection.explaining import Explanation
from ops.health.inspection.plans import Step
from ops.management.reporting import printable


def show_explanation(out: Console, found: Explanation) -> None:
    """Print the steps as a tree, each with what is remarkable about it."""
    out.print(Text(_heading(found), "bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Step", overflow="fold", ratio=1)
    for title in ("Planned", "Rows", "Time") if found.executed else ("Planned", "Cost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Share", justify="right", no_wrap=True)
    for step in found.steps:
        table.add_row(_step(step), *_numbers(step, found), f"{step.share:.0%}")
    out.print(table)
    for suggested in found.suggestions:
        out.print(Text(f"An index might help. {suggested.reason}", "yellow"))
        out.print(Text(f"  → {printable(suggested.create)}", "green"), soft_wrap=True)
    if found.executed:
        planning = found.plan.get("Planning Time", 0.0)
        took = f"Executed in {found.milliseconds or 0:,.2f} ms, planned in {planning:,.2f} ms."
        out.print(f"{took} It was rolled back.", markup=False)
    else:
        out.print("Nothing was executed; --analyze does, without changing anything.", markup=False)


def explanation_as_json(found: Explanation) -> dict[str, Any]:
    """Return what programs are told of a plan."""
    return {
        "sql": found.sql,
        "role": found.role,
        "member": found.member or None,
        "executed": found.executed,
        "generic": found.generic,
        "milliseconds": found.milliseconds,
        "steps": [
            {
                "depth": step.depth,
                "step": step.title,
                "relation": step.relation or None,
                "cost": round(step.cost, 2),
                "planned_rows": step.planned_rows,
                "rows": step.rows,
                "loops": step.loops,
                "milliseconds": step.milliseconds,
                "share": round(step.share, 4),
                "conditions": step.conditions,
                "remarks": step.remarks,
            }
            for step in found.steps
        ],
        "suggestions": [
            {
                "create": each.create,
                "reason": each.reason,
                "tried": each.cost_with is not None,
                "cost_before": each.cost,
                "cost_after": each.cost_with,
            }
            for each in found.suggestions
        ],
        "plan": found.plan,
    }


def _heading(found: Explanation) -> str:
    whom = f"{found.member}, as {found.role}" if found.member else found.role
    generic = ", for any values of its placeholders" if found.generic else ""
    return f"Plan for {printable(whom)}{generic}"


def _step(step: Step) -> Text:
    indent = "  " * step.depth
    lines = [(f"{indent}{printable(step.title)}", "")]
    lines += [(f"{indent}  {printable(each)}", "dim") for each in step.conditions]
    lines += [(f"{indent}  ! {printable(each)}", "yellow") for each in step.remarks]
    return Text("\n").join([Text(text, style) for text, style in lines])


def _numbers(step: Step, found: Explanation) -> list[str]:
    if not found.executed:
        return [f"{step.planned_rows:,.0f}", f"{step.cost:,.0f}"]
    rows = (step.rows or 0) * (step.loops or 0)
    planned = step.planned_rows * max(step.loops or 0, 1)
    return [f"{planned:,.0f}", f"{rows:,.0f}", f"{step.milliseconds or 0:,.2f} ms"]
