"""Reading a plan as EXPLAIN (FORMAT JSON) has it: its steps, and what about them is remarkable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.words import size

# So many times more or fewer rows than planned; then the rest of the plan was made for other data.
_MISESTIMATE = 10
_FEW = 100  # rows; below that a wrong estimate changes no plan
_EXPENSIVE = 0.1  # of the whole: the costliest step of a quick, even plan is nothing to act on
_CONDITIONS = (
    "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter",
    "One-Time Filter", "TID Cond", "Order By", "Sort Key", "Group Key", "Function Call",
)  # fmt: skip
_BLOCK = 8192  # bytes; what EXPLAIN counts blocks of, unless PostgreSQL was built otherwise


@dataclass
class Step:
    """One node of a plan. Costs and times are its own, without those of the steps below it."""

    depth: int
    title: str
    relation: str  # schema.table that it reads; "" for none
    cost: float
    planned_rows: float
    rows: float | None  # of one loop; None: it was not executed
    loops: float | None
    milliseconds: float | None
    conditions: tuple[str, ...]
    node: Mapping[str, Any] = field(repr=False)
    share: float = 0.0  # of the whole, by time where it was executed, otherwise by cost
    remarks: tuple[str, ...] = ()


def read_plan(plan: Mapping[str, Any], table_rows: Mapping[str, float], big: int) -> list[Step]:
    """Return the steps of a plan, each after the one it is for, with what is remarkable.

    `table_rows` says how many rows tables have; from `big` on reading a whole one is told.
    """
    steps = list(_steps(plan, 0, 1.0))
    executed = steps[0].milliseconds is not None
    whole = sum(_weight(step, executed) for step in steps)
    for step in steps:
        step.share = _weight(step, executed) / whole if whole else 0.0
    costliest = max(steps, key=lambda step: step.share)
    for step in steps:
        told = list(_remarks(step, table_rows, big))
        if step is costliest and len(steps) > 1 and step.share >= _EXPENSIVE:
            what = "time" if executed else "cost"
            told.insert(0, f"most expensive: {step.share:.0%} of the {what}")
        step.remarks = tuple(told)
    return steps


def relations(plan: Mapping[str, Any]) -> set[str]:
    """Return the tables that a plan reads, as schema.table."""
    return {step.relation for step in _steps(plan, 0, 1.0) if step.relation}


def _steps(node: Mapping[str, Any], depth: int, workers: float) -> Iterator[Step]:
    below = node.get("Plans", [])
    beneath = workers
    if node["Node Type"] in {"Gather", "Gather Merge"}:
        # What runs in several processes at once counts loops in each of them.
        beneath = node.get("Workers Launched", 0) + 1.0
    loops = node.get("Actual Loops")
    yield Step(
        depth,
        _title(node),
        f"{node.get('Schema', 'public')}.{node['Relation Name']}" if _reads(node) else "",
        max(0.0, node["Total Cost"] - sum(each["Total Cost"] for each in below)),
        node["Plan Rows"],
        node.get("Actual Rows"),
        loops,
        _own_time(node, workers, beneath),
        tuple(f"{name}: {_text(node[name])}" for name in _CONDITIONS if name in node),
        node,
    )
    for each in below:
        yield from _steps(each, depth + 1, beneath)


def _own_time(node: Mapping[str, Any], workers: float, beneath: float) -> float | None:
    if "Actual Total Time" not in node:
        return None
    below = sum(_time(each, beneath) for each in node.get("Plans", []))
    return max(0.0, _time(node, workers) - below)


def _time(node: Mapping[str, Any], workers: float) -> float:
    return float(node["Actual Total Time"] * node["Actual Loops"] / workers)


def _weight(step: Step, executed: bool) -> float:
    return (step.milliseconds or 0.0) if executed else step.cost


def _reads(node: Mapping[str, Any]) -> bool:
    return "Relation Name" in node


def _title(node: Mapping[str, Any]) -> str:
    kind = str(node["Node Type"])
    if node.get("Parallel Aware"):
        kind = f"Parallel {kind}"
    if node.get("Join Type", "Inner") != "Inner":
        kind = f"{kind} ({node['Join Type'].lower()})"
    if strategy := {"Hashed": "Hash", "Sorted": "Group"}.get(node.get("Strategy", "")):
        kind = f"{strategy}{kind}"
    if node.get("Scan Direction") == "Backward":
        kind = f"{kind} backwards"
    if index := node.get("Index Name"):
        kind = f"{kind} using {index}"
    if relation := node.get("Relation Name"):
        alias = node.get("Alias", relation)
        kind = f"{kind} on {relation}" + (f" {alias}" if alias != relation else "")
    elif named := node.get("CTE Name") or node.get("Function Name"):
        kind = f"{kind} on {named}"
    if name := node.get("Subplan Name"):
        kind = f"{name}: {kind}"
    return kind


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _remarks(step: Step, table_rows: Mapping[str, float], big: int) -> Iterator[str]:
    node = step.node
    if step.loops == 0:
        yield "never executed"
        return
    if step.rows is not None:
        yield from _misestimate(step.planned_rows, step.rows)
    number = table_rows.get(step.relation, 0)
    if node["Node Type"] == "Seq Scan" and number >= big:
        left_out = node.get("Rows Removed by Filter")
        most = f", {left_out:,.0f} of them for nothing" if left_out else ""
        yield f"reads all of about {number:,.0f} rows{most}"
    if node.get("Sort Space Type") == "Disk":
        yield f"sorts on disk: {size(node['Sort Space Used'] * 1024)}; more work_mem keeps it out"
    if node.get("Hash Batches", 1) > 1:
        yield f"hashes in {node['Hash Batches']} batches on disk; more work_mem keeps it out"
    if (disk := node.get("Disk Usage", 0)) and "Sort Space Type" not in node:
        yield f"spills to disk: {size(disk * 1024)}"
    if node.get("Lossy Heap Blocks"):
        yield "remembers pages instead of rows, and looks at each row again: more work_mem"
    fetched = node.get("Heap Fetches", 0)
    if fetched >= _FEW and fetched * 2 >= (step.rows or 0) * (step.loops or 0):
        yield f"looks into the table {fetched:,} times after all: VACUUM {step.relation}"


def _misestimate(planned: float, actual: float) -> Iterator[str]:
    more, less = max(planned, actual), max(min(planned, actual), 1.0)
    if more >= _FEW and more / less >= _MISESTIMATE:
        direction = "more" if actual > planned else "fewer"
        yield (
            f"{more / less:,.0f} times {direction} rows than planned ({actual:,.0f} instead of "
            f"{planned:,.0f})"
        )
