"""Which index would help a statement: read from its plan, and tried where hypopg is installed.

A plan that reads a whole large table and keeps few of its rows wants an index on what it filters
by. With hypopg (an extension that lets the planner believe in an index that is not there) the
cost with and without is compared; without it the suggestion is reasoned, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from ops.health.catalogue import Catalogue, Table
from ops.health.marking import marked
from ops.health.quoting import quoted
from ops.postgres.endpoint import Connection

# A filter that keeps more of a table than this is answered as quickly by reading all of it.
_SELECTIVE = 0.1
# Less than that is not worth what each write pays for it.
_WORTH = 0.5
_MOST_COLUMNS = 3
_NAME = r'(?:"(?P<q>(?:[^"]|"")+)"|(?P<p>[a-z_][a-z0-9_$]*))'
# `(state = $1)`, `((state)::text = ANY ($2))`: a bare column, perhaps shown as text, on the left.
_CONDITION = re.compile(
    rf"^\(*(?:(?:{_NAME})\)*(?:::(?:text|bpchar))?) (?P<how>=|<|<=|>|>=|IS NULL)(?=[ )]|$)"
)


@dataclass(frozen=True)
class Suggestion:
    """An index that a statement would gain by."""

    schema: str
    table: str
    columns: tuple[str, ...]
    rows: float  # that are read today, as the planner estimates
    kept: float  # of these, the ones that are wanted
    cost: float  # of the whole statement, in the planner's units
    cost_with: float | None = None  # with the index; None: it could not be tried

    @property
    def create(self) -> str:
        """The SQL that makes it, while others go on working."""
        return f"CREATE INDEX CONCURRENTLY {self._on};"

    @property
    def _on(self) -> str:
        columns = ", ".join(quoted(column) for column in self.columns)
        return f"ON {quoted(self.schema, self.table)} ({columns})"

    @property
    def reason(self) -> str:
        """Why, in a sentence or two."""
        told = (
            f"It reads about {self.rows:,.0f} rows of {self.schema}.{self.table} to find about "
            f"{self.kept:,.0f}."
        )
        if self.cost_with is None:
            return (
                f"{told} The index is concluded from the plan and was not tried (the extension "
                "hypopg would allow that)."
            )
        return (
            f"{told} With the index the planner's cost falls from {self.cost:,.0f} to "
            f"{self.cost_with:,.0f}."
        )


def generic_plan(connection: Connection, statement: str) -> dict[str, Any]:
    """Return the plan of a statement whose constants are placeholders; nothing is executed.

    Raises psycopg.Error for what has no plan. Works alike on each supported version; the option
    GENERIC_PLAN came with PostgreSQL 16.
    """
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            # With parameters the server takes one statement only, whatever the text holds.
            connection.execute(_PREPARE + marked(statement.replace("%", "%%")), ())
            count = connection.execute(_PARAMETERS).fetchone()
            nothing = ", ".join(["NULL"] * (count[0] if count else 0))
            call = f"{_EXPLAIN} ({nothing})" if nothing else _EXPLAIN
            row = connection.execute(marked(call)).fetchone()
    finally:
        # It outlives a transaction that is rolled back.
        with suppress(psycopg.Error), connection.transaction():
            connection.execute("DEALLOCATE srvc_planned")
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def suggestions(
    connection: Connection, statement: str, catalogue: Catalogue, least_rows: int
) -> list[Suggestion]:
    """Return the indexes that a statement would gain by, on tables of at least so many rows.

    Needs a transaction. Raises psycopg.Error for what has no plan.
    """
    plan = generic_plan(connection, statement)
    found = list(of_plan(plan, catalogue, least_rows))
    if not found or not has_hypopg(connection):
        return found
    tried = (_tried(connection, statement, each) for each in found)
    return [
        each for each in tried if each.cost_with is None or each.cost_with <= each.cost * _WORTH
    ]


def of_plan(plan: dict[str, Any], catalogue: Catalogue, least_rows: int) -> Iterator[Suggestion]:
    """Yield what a plan (EXPLAIN's JSON) asks for: each whole reading that keeps few rows."""
    seen = set()
    for node in _nodes(plan):
        if node["Node Type"] != "Seq Scan" or "Filter" not in node:
            continue
        table = _table(catalogue, node)
        if table is None or table.kind == "p" or table.rows < least_rows:
            continue
        if node["Plan Rows"] > table.rows * _SELECTIVE:
            continue
        columns = _columns(node["Filter"], table, catalogue)
        if not columns or _has_index(catalogue, table, columns) or (table.oid, columns) in seen:
            continue
        seen.add((table.oid, columns))
        yield Suggestion(
            table.schema, table.name, columns, table.rows, node["Plan Rows"], plan["Total Cost"]
        )


def has_hypopg(connection: Connection) -> bool:
    """Tell whether the database has the extension hypopg."""
    query = "SELECT FROM pg_extension WHERE extname = 'hypopg'"
    return connection.execute(query).fetchone() is not None


def _tried(connection: Connection, statement: str, suggested: Suggestion) -> Suggestion:
    """The suggestion with what the planner makes of it."""
    schema = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'hypopg'"
    ).fetchone()
    assert schema is not None
    make = sql.SQL("SELECT {}(%s)").format(sql.Identifier(schema[0], "hypopg_create_index"))
    forget = sql.SQL("SELECT {}()").format(sql.Identifier(schema[0], "hypopg_reset"))
    try:
        with connection.transaction():
            connection.execute(make, [f"CREATE INDEX {suggested._on}"])
            plan = generic_plan(connection, statement)
    except psycopg.Error:
        return suggested
    finally:
        with suppress(psycopg.Error), connection.transaction():
            connection.execute(forget)
    return replace(suggested, cost_with=plan["Total Cost"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _table(catalogue: Catalogue, node: dict[str, Any]) -> Table | None:
    named = [
        table
        for table in catalogue.tables.values()
        if table.name == node["Relation Name"] and table.schema == node.get("Schema", table.schema)
    ]
    return named[0] if len(named) == 1 else None


def _columns(condition: str, table: Table, catalogue: Catalogue) -> tuple[str, ...]:
    """The columns to index: those compared for equality, then one of a range."""
    equal: list[str] = []
    ranged: list[str] = []
    known = set(catalogue.columns.get(table.oid, {}).values())
    for part in _conjuncts(condition):
        # EXPLAIN VERBOSE puts the table's alias before the column.
        found = _CONDITION.match(re.sub(r"^(\(*)(?:[a-z_][a-z0-9_$]*|\"[^\"]+\")\.", r"\1", part))
        if found is None:
            continue
        name = (found["q"] or found["p"]).replace('""', '"')
        if name in known:
            (equal if found["how"] in {"=", "IS NULL"} else ranged).append(name)
    ordered = list(dict.fromkeys(equal))
    ordered += [name for name in dict.fromkeys(ranged) if name not in equal][:1]
    return tuple(ordered[:_MOST_COLUMNS])


def _conjuncts(condition: str) -> Iterator[str]:
    """The parts of `((a = 1) AND (b = 2))`; the whole of what is no AND."""
    inner = condition
    if condition.startswith("((") and condition.endswith(")"):
        inner = condition[1:-1]
    depth, begin, parts, in_text = 0, 0, [], False
    for at, sign in enumerate(inner):
        if sign == "'":
            in_text = not in_text
        elif in_text:
            continue
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth < 0:  # the outer pair was not one
                yield condition
                return
        elif depth == 0 and inner.startswith(" AND ", at):
            parts.append(inner[begin:at])
            begin = at + len(" AND ")
        elif depth == 0 and inner.startswith(" OR ", at):
            return
    yield from [*parts, inner[begin:]] if parts else [condition]


def _has_index(catalogue: Catalogue, table: Table, columns: tuple[str, ...]) -> bool:
    """Whether an index begins with the first of them already: the planner knew, and did not."""
    numbers = {name: number for number, name in catalogue.columns[table.oid].items()}
    wanted = {numbers[name] for name in columns}
    return any(
        index.is_valid and not index.predicate and set(index.columns[: len(wanted)]) == wanted
        for index in catalogue.indexes_of[table.oid]
    )


_PREPARE = "PREPARE srvc_planned AS "
_EXPLAIN = "EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE srvc_planned"
_PARAMETERS = """
    SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'srvc_planned'
"""
