"""What Django's models declare of a table, and the SQL that makes each part of it again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pgtrigger
from django.db import connections, models
from django.db.models.constraints import BaseConstraint

from ops.rls.policies import RowPolicy
from ops.runs import OWNER

# How Django writes types that PostgreSQL shows by another name.
_TYPES = (("varchar", "character varying"), ("char(", "character("))


@dataclass(frozen=True)
class Column:
    """A column as a model declares it."""

    name: str
    type: str  # as PostgreSQL's format_type writes it
    is_nullable: bool
    field: Any


@dataclass(frozen=True)
class Index:
    """An index as a model declares it; one without a name is known by what it indexes."""

    name: str
    columns: tuple[str, ...]  # none where it is of expressions
    is_unique: bool
    for_patterns: bool  # it serves LIKE 'x%'
    statement: Callable[[], str]


@dataclass(frozen=True)
class Named:
    """A constraint, policy or trigger that is known by its name."""

    name: str
    noun: str
    statement: Callable[[], str]
    is_policy: bool = False


def editor() -> Any:
    """Return Django's schema editor, which writes SQL down and runs none."""
    connection = connections[OWNER]
    made: Any = connection.SchemaEditorClass(connection, collect_sql=True)
    made.deferred_sql = []
    return made


def table_of(model: type[models.Model]) -> str:
    """Return the SQL that makes a table with all that its model declares."""
    writes = editor()
    writes.create_model(model)
    statements = [*writes.collected_sql, *map(str, writes.deferred_sql)]
    return "\n".join(_ended(each) for each in statements)


def columns_of(model: type[models.Model]) -> Iterator[Column]:
    """Yield the columns of a model's table."""
    connection = connections[OWNER]
    for field in model._meta.local_concrete_fields:
        if (type_ := field.db_type(connection)) is not None:
            yield Column(
                str(field.column),
                _as_shown(type_),
                # A generated column may be NULL, whatever its field says.
                field.null or field.generated,
                field,
            )


def column_statement(model: type[models.Model], column: Column) -> str:
    """Return the SQL that adds a column, with what its field declares besides."""
    writes = editor()
    writes.add_field(model, column.field)
    statements = [*writes.collected_sql, *map(str, writes.deferred_sql)]
    return "\n".join(_ended(each) for each in statements)


def indexes_of(model: type[models.Model]) -> Iterator[Index]:
    """Yield the indexes of a model's table, those of unique constraints too."""
    meta, writes = model._meta, editor()
    for index in meta.indexes:
        names = [name for name, _ in index.fields_orders]
        yield Index(
            index.name,
            _columns(meta, [] if index.expressions else names),
            False,
            False,
            lambda index=index: _ended(index.create_sql(model, writes, concurrently=True)),  # type: ignore[misc]
        )
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            yield Index(
                constraint.name,
                _columns(meta, [] if constraint.expressions else list(constraint.fields)),
                True,
                False,
                lambda each=constraint: _ended(each.create_sql(model, writes)),  # type: ignore[misc]
            )
    yield from _field_indexes(model, writes)


def _field_indexes(model: type[models.Model], writes: Any) -> Iterator[Index]:
    meta = model._meta
    for together in meta.unique_together:
        fields = [meta.get_field(name) for name in together]
        yield Index(
            "", _columns(meta, list(together)), True, False,
            lambda fields=fields: _ended(writes._create_unique_sql(model, fields)),  # type: ignore[misc]
        )  # fmt: skip
    some: list[Any] = list(meta.local_concrete_fields)
    for field in some:
        columns = (str(field.column),)
        if field.unique and not field.primary_key:
            yield Index(
                "", columns, True, False,
                lambda field=field: _ended(writes._create_unique_sql(model, [field])),  # type: ignore[misc]
            )  # fmt: skip
        elif field.db_index and not field.primary_key:
            yield Index(
                "", columns, False, False,
                lambda field=field: _ended(writes._create_index_sql(model, fields=[field])),  # type: ignore[misc]
            )  # fmt: skip
        like = writes._create_like_index_sql(model, field)
        if like is not None:
            yield Index("", columns, False, True, lambda like=like: _ended(like))  # type: ignore[misc]


def named_of(model: type[models.Model]) -> Iterator[Named]:
    """Yield the constraints and policies of a model's table that are no index."""
    writes = editor()
    for each in model._meta.constraints:
        if isinstance(each, models.UniqueConstraint):
            continue
        yield Named(
            each.name,
            "policy" if isinstance(each, RowPolicy) else "constraint",
            lambda each=each: _constraint_statement(model, each, writes),  # type: ignore[misc]
            isinstance(each, RowPolicy),
        )


@functools.cache
def triggers_of() -> dict[str, list[Named]]:
    """Return the triggers of every model's table, by the table's name."""
    found: dict[str, list[Named]] = {}
    for model, trigger in pgtrigger.registered():
        uri = trigger.get_uri(model)
        # The installation opens what ops/rls/triggers.py closes after each migration.
        command = f"manage.py pgtrigger install {uri} --database {OWNER} && manage.py migrate"
        found.setdefault(model._meta.db_table, []).append(
            Named(
                trigger.get_pgid(model),
                "trigger",
                lambda command=command: command,  # type: ignore[misc]
            )
        )
    return found


def foreign_key_statement(model: type[models.Model], field: Any) -> str:
    """Return the SQL that adds a field's foreign key."""
    return _ended(editor()._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s"))


def _constraint_statement(model: type[models.Model], each: BaseConstraint, writes: Any) -> str:
    return _ended(each.create_sql(model, writes))


def _columns(meta: Any, names: list[str]) -> tuple[str, ...]:
    return tuple(str(meta.get_field(name).column) for name in names)


def _as_shown(type_: str) -> str:
    for ours, theirs in _TYPES:
        if type_.startswith(ours):
            type_ = theirs + type_.removeprefix(ours)
    return type_.replace(", ", ",")


def _ended(statement: object) -> str:
    text = str(statement).strip()
    return text if text.endswith(";") else f"{text};"
