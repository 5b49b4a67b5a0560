"""What the database has of each table in the schema public, to compare with what models declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ops.health import catalogue
from ops.health.context import Context

_COLUMNS = """
    SELECT a.attrelid::bigint, a.attname::text, a.attnum, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.atthasdef OR a.attidentity <> ''
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND a.attnum > 0 AND NOT a.attisdropped
"""
_CONSTRAINTS = """
    SELECT conrelid::bigint, conname::text, contype::text, coalesce(conkey, '{}')
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
"""
_POLICIES = """
    SELECT p.polrelid::bigint, p.polname::text
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relnamespace = 'public'::regnamespace
"""
_TRIGGERS = """
    SELECT t.tgrelid::bigint, t.tgname::text
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
"""


@dataclass
class Actual:
    """What the database has of one table."""

    table: catalogue.Table
    # By name: number, type, NOT NULL, has a default.
    columns: dict[str, tuple[int, str, bool, bool]] = field(default_factory=dict)
    indexes: list[catalogue.Index] = field(default_factory=list)
    foreign_keys: list[catalogue.ForeignKey] = field(default_factory=list)
    constraints: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    policies: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)

    def numbers(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """The columns' numbers; -1 for one that is not there."""
        return tuple(self.columns[name][0] if name in self.columns else -1 for name in names)


def read_actual(context: Context) -> dict[str, Actual]:
    """Return every table of the schema public, by its name."""
    tables = {
        oid: Actual(table, indexes=context.catalogue.indexes_of.get(oid, []))
        for oid, table in context.catalogue.tables.items()
        if table.schema == "public"
    }
    for key in context.catalogue.foreign_keys.values():
        if there := tables.get(key.table):
            there.foreign_keys.append(key)
    for there, (name, number, type_, is_required, has_default) in _parts(context, _COLUMNS, tables):
        there.columns[name] = (number, type_, is_required, has_default)
    for there, (name, kind, columns) in _parts(context, _CONSTRAINTS, tables):
        there.constraints[name] = (kind, tuple(columns))
    for there, (name,) in _parts(context, _POLICIES, tables):
        there.policies.add(name)
    for there, (name,) in _parts(context, _TRIGGERS, tables):
        there.triggers.add(name)
    return {each.table.name: each for each in tables.values()}


def _parts(
    context: Context, query: str, tables: dict[int, Actual]
) -> Iterator[tuple[Actual, list[Any]]]:
    """Rows of a query with the table that each is of; its first column is the table's number."""
    for oid, *rest in context.rows(query):
        if there := tables.get(oid):
            yield there, rest
