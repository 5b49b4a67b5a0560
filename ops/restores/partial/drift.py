"""How the tables of a backup fit those of today: columns added, removed, renamed, of another type.

What was renamed is known from the migrations between the two: their operations say so. Everything
else goes by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps.registry import Apps
from django.db import connections
from django.db.migrations.exceptions import MigrationSchemaMissing, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AlterModelTable, DeleteModel, RenameField, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ops.restores.errors import RefusedError
from ops.restores.partial.shape import Table
from ops.runs import OWNER


@dataclass(frozen=True)
class Renames:
    """What today's names were in the backup: public.tables, and columns of today's tables."""

    tables: dict[str, str] = field(default_factory=dict)
    columns: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """A table of today and what it was in the backup."""

    live: Table
    past: Table
    columns: tuple[tuple[str, str], ...]  # the past's name, today's; those that are written
    added: tuple[str, ...]  # today's alone
    removed: tuple[str, ...]  # the past's alone
    retyped: tuple[str, ...]  # today's names of those whose type is another one

    @property
    def title(self) -> str:
        """Its name of today."""
        return self.live.title

    def past_name(self, column: str) -> str | None:
        """Return what a column of today was called, or None where it was not there."""
        return next((old for old, new in self.columns if new == column), None)

    def notes(self) -> Iterable[str]:
        """Yield sentences about what does not go by name alone."""
        if self.live.title != self.past.title:
            yield f"{self.live.title} was called {self.past.title}."
        for old, new in self.columns:
            if old != new:
                yield f"{self.live.title}.{new} was called {old}."
        for name in self.retyped:
            before = self.past.by_name[self.past_name(name) or name].type
            yield (
                f"{self.live.title}.{name} was {before} and is {self.live.by_name[name].type} now; "
                "its values are converted."
            )
        if self.added:
            yield (
                f"{self.live.title} got {', '.join(self.added)} since: rows that come back have "
                "the default there, rows that are set back keep what they have."
            )
        if self.removed:
            yield (f"{self.live.title} has no {', '.join(self.removed)} any more: left out.")


def pair_tables(
    live: dict[str, Table], past: dict[str, Table], renames: Renames
) -> dict[str, Pair]:
    """Return the tables that are there on both sides, by today's names."""
    found = {}
    taken = set(renames.tables.values())
    for title, table in live.items():
        old_title = renames.tables.get(title, title)
        if title not in renames.tables and title in taken:
            continue  # another table had this name then
        old = past.get(old_title)
        if old is not None:
            found[title] = _pair(table, old, renames)
    return found


def require_pair(pairs: dict[str, Pair], title: str) -> Pair:
    """Return one. Raises RefusedError where the backup has no such table or it has no key."""
    pair = pairs.get(title)
    if pair is None:
        raise RefusedError(
            f"The backup has no table {title}, so nothing of it can be recovered. Nothing was "
            "changed. Name a backup that has it."
        )
    require_key(pair)
    return pair


def require_key(pair: Pair) -> None:
    """Raise RefusedError where rows of the two sides can't be told to be the same."""
    if not pair.live.key:
        raise RefusedError(
            f"{pair.title} has no primary key, and no unique key without nulls, so its rows of "
            "the past and of today can't be paired. Nothing was changed. Restore the backup "
            "beside (`manage.py restore BACKUP --as NAME`) and take what you need from there."
        )
    unknown = [name for name in pair.live.key if pair.past_name(name) is None]
    if unknown:
        raise RefusedError(
            f"The key of {pair.title} has {', '.join(unknown)}, which the backup does not know: "
            "its rows can't be paired. Nothing was changed. Restore the backup beside "
            "(`manage.py restore BACKUP --as NAME`) and take what you need from there."
        )


def dropped_by(applied: Sequence[str]) -> dict[str, str]:
    """Return the tables that migrations since a backup dropped on purpose, and which one did."""
    found: dict[str, str] = {}
    for operation, key, state in _operations_since(applied):
        if isinstance(operation, DeleteModel):
            table = _model(state, key[0], operation.name)._meta.db_table
            found[f"public.{table}"] = ".".join(key)
    return found


def renames_since(applied: Sequence[str]) -> Renames:
    """Return what migrations renamed since a backup, whose applied ones are "app.name" texts.

    Migrations whose files are gone or that nobody applied here say nothing; then names decide.
    """
    tracked: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for operation, (app, _), state in _operations_since(applied):
        former = _names(operation, app, state)
        if former is not None:
            after = state.clone()
            operation.state_forwards(app, after)
            _note(former, operation, app, after, tracked)
    return _collected(tracked)


def _operations_since(
    applied: Sequence[str],
) -> Iterator[tuple[Operation, tuple[str, str], ProjectState]]:
    """Yield what migrations did since a backup, each with the models as they were before it."""
    if not applied:
        return
    try:
        loader = MigrationLoader(connections[OWNER])
    except (NodeNotFoundError, MigrationSchemaMissing):
        return
    before = {tuple(each.split(".", 1)) for each in applied}
    fresh = {
        key for key in loader.applied_migrations if key not in before and key in loader.graph.nodes
    }
    if not fresh:
        return
    plan = [key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf)]
    state = ProjectState()
    for key in dict.fromkeys(plan):
        if key not in before and key not in fresh:
            continue
        for operation in loader.graph.nodes[key].operations:
            if key in fresh:
                yield operation, key, state
            operation.state_forwards(key[0], state)


@dataclass(frozen=True)
class _Named:
    """A model before an operation: its table, and the column that is renamed."""

    model: str
    table: str
    column: str = ""


def _names(operation: Operation, app: str, state: ProjectState) -> _Named | None:
    if isinstance(operation, RenameField):
        model = _model(state, app, operation.model_name)
        column = model._meta.get_field(operation.old_name).column
        return _Named(operation.model_name, model._meta.db_table, column)
    if isinstance(operation, RenameModel):
        return _Named(operation.old_name, _model(state, app, operation.old_name)._meta.db_table)
    if isinstance(operation, AlterModelTable):
        return _Named(operation.name, _model(state, app, operation.name)._meta.db_table)
    return None


def _note(
    former: _Named,
    operation: Operation,
    app: str,
    state: ProjectState,
    tracked: dict[tuple[str, str], tuple[str, dict[str, str]]],
) -> None:
    """Follow a rename: `tracked` has, by today's table, the former name and columns' former."""
    new_model = operation.new_name if isinstance(operation, RenameModel) else former.model
    model = _model(state, app, new_model)
    table = model._meta.db_table
    old_table, columns = tracked.pop((app, former.table), (former.table, {}))
    if isinstance(operation, RenameField):
        column = model._meta.get_field(operation.new_name).column
        columns = {**columns}
        oldest = columns.pop(former.column, former.column)
        if column != oldest:
            columns[column] = oldest
    tracked[app, table] = (old_table, columns)


def _collected(tracked: dict[tuple[str, str], tuple[str, dict[str, str]]]) -> Renames:
    tables, columns = {}, {}
    for (_, table), (old_table, renamed) in tracked.items():
        title = f"public.{table}"
        if table != old_table:
            tables[title] = f"public.{old_table}"
        columns.update({(title, new): old for new, old in renamed.items()})
    return Renames(tables, columns)


def _model(state: ProjectState, app: str, name: str) -> Any:
    registry: Apps = state.apps
    return registry.get_model(app, name)


def _pair(live: Table, past: Table, renames: Renames) -> Pair:
    columns, retyped, added = [], [], []
    used = {old for (title, _), old in renames.columns.items() if title == live.title}
    for column in live.columns:
        if column.generated:
            continue
        old = renames.columns.get((live.title, column.name))
        if old is None and column.name not in used:
            old = column.name
        if old is None or old not in past.by_name:
            added.append(column.name)
            continue
        columns.append((old, column.name))
        if past.by_name[old].type != column.type:
            retyped.append(column.name)
    known = {old for old, _ in columns} | {c.name for c in live.columns if c.generated}
    removed = tuple(
        each.name for each in past.columns if each.name not in known and not each.generated
    )
    return Pair(live, past, tuple(columns), tuple(added), removed, tuple(retyped))
