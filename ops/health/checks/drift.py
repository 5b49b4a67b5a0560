"""What the models declare and the database has not, or has besides: tables, columns, keys, rules.

What a policy, a constraint, a trigger, an index or a default says is compared in altered.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.db import models

from ops.health import catalogue
from ops.health.checks import declared
from ops.health.checks.actual import Actual, read_actual
from ops.health.checks.migrations import TABLE as MIGRATIONS
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.health.quoting import quoted
from ops.models import Area, Severity

_INTEGERS = ("smallint", "integer", "bigint")


@check(Area.INTEGRITY, "A schema other than the models declare", every=HOURLY)
def schema_drift(context: Context) -> Iterator[Reported]:
    """What somebody changed by hand is on no other database and in no migration: an index that was
    dropped makes pages slow, a constraint or policy that is gone lets in what it was there for.
    """
    actual = read_actual(context)
    triggers = declared.triggers_of()
    known = {MIGRATIONS}
    for model in declared_models():
        table = model._meta.db_table
        known.add(table)
        if not model._meta.managed or model._meta.proxy:
            continue
        if (there := actual.get(table)) is None:
            yield _missing(table, "", "table", declared.table_of(model), Severity.CRITICAL)
            continue
        yield from _columns(model, there)
        yield from _indexes(model, there)
        yield from _keys(model, there)
        yield from _named(model, there, triggers.get(table, []))
    for table, there in actual.items():
        if table not in known and not there.table.is_partition and there.table.kind != "m":
            yield Reported(
                f"public.{table}",
                Severity.INFO,
                f"The table public.{table} is of no model",
                f"{there.table.size:,} bytes that no code of ours reads. It was made by hand, or "
                "left behind by an app that is gone; backups carry it along.",
                f"SELECT * FROM {quoted('public', table)} LIMIT 20;",  # noqa: S608 (quoted)
                f"table public.{table}",
            )


def declared_models() -> list[type[models.Model]]:
    """Return every model that has a table, those of many-to-many tables too."""
    return list(apps.get_models(include_auto_created=True))


def _columns(model: type[models.Model], there: Actual) -> Iterator[Reported]:
    table = model._meta.db_table
    known = set()
    for column in declared.columns_of(model):
        known.add(column.name)
        if column.name not in there.columns:
            statement = declared.column_statement(model, column)
            yield _missing(table, column.name, "column", statement, Severity.CRITICAL)
            continue
        _, type_, is_required, _ = there.columns[column.name]
        name, alter = f"{table}.{column.name}", f"ALTER COLUMN {quoted(column.name)}"
        if type_ != column.type and not _is_wider(type_, column.type):
            how = f"TYPE {column.type} USING {quoted(column.name)}::{column.type}"
            said = f"It is {type_}; the model has {column.type}."
            yield _differs(table, column.name, "type", f"{name} has another type", said, alter, how)
        if is_required == column.is_nullable and not column.field.primary_key:
            may = "may be" if not is_required else "may not be"
            how = "DROP NOT NULL" if is_required else "SET NOT NULL"
            said = "Code counts on a value." if not is_required else "Rows without it are refused."
            title = f"{name} {may} NULL, other than the model says"
            yield _differs(table, column.name, "null", title, said, alter, how)
    yield from _leftover(table, there, known)


def _is_wider(type_: str, wanted: str) -> bool:
    # As after the end of a sequence (sequences.py), and in many-to-many tables of apps that have
    # another default for keys than their migrations had.
    both = {type_, wanted} <= set(_INTEGERS)
    return both and _INTEGERS.index(type_) > _INTEGERS.index(wanted)


def _leftover(table: str, there: Actual, known: set[str]) -> Iterator[Reported]:
    of = quoted("public", table)
    for name, (_, type_, is_required, has_default) in there.columns.items():
        if name in known:
            continue
        if is_required and not has_default:
            severity = Severity.CRITICAL
            said = "It is NOT NULL without a default, so no new row of the application is taken."
            next_step = f"ALTER TABLE {of} ALTER COLUMN {quoted(name)} DROP NOT NULL;"
        else:
            severity = Severity.INFO
            said = "No code of ours reads it; it was made by hand, or left behind."
            next_step = f"SELECT DISTINCT {quoted(name)} FROM {of} LIMIT 20;"  # noqa: S608 (quoted)
        yield Reported(
            f"public.{table}.{name}",
            severity,
            f"The column public.{table}.{name} is of no model",
            f"It is {type_}. {said}",
            next_step,
            f"table public.{table}",
        )


def _indexes(model: type[models.Model], there: Actual) -> Iterator[Reported]:
    table = model._meta.db_table
    names = {index.name for index in there.indexes}
    for wanted in declared.indexes_of(model):
        if wanted.name:
            key, what = wanted.name, f"{wanted.name} "
            same = wanted.name in names
        else:
            key = f"{','.join(wanted.columns)} {_purpose(wanted)}"
            what = f"on {', '.join(wanted.columns)} "
            columns = there.numbers(wanted.columns)
            same = any(_serves(index, wanted, columns) for index in there.indexes)
        if not same:
            noun = "unique constraint" if wanted.is_unique else "index"
            severity = Severity.CRITICAL if wanted.is_unique else Severity.WARNING
            statement = wanted.statement()
            yield _missing(table, key, f"{noun} {what}".strip(), statement, severity, named=False)


def _purpose(wanted: declared.Index) -> str:
    return "unique" if wanted.is_unique else "like" if wanted.for_patterns else "index"


def _serves(index: catalogue.Index, wanted: declared.Index, columns: tuple[int, ...]) -> bool:
    """Whether an index is as good as the one that a field asks for without naming it."""
    if index.predicate or not index.is_valid:
        return False
    if wanted.is_unique:
        return index.is_unique and sorted(index.columns) == sorted(columns)
    begins = index.columns[: len(columns)] == columns
    return begins and (not wanted.for_patterns or "_pattern_ops" in index.definition)


def _keys(model: type[models.Model], there: Actual) -> Iterator[Reported]:
    """The primary key, and foreign keys that fields declare by themselves."""
    meta, table = model._meta, model._meta.db_table
    primary = tuple(str(each.column) for each in meta.pk_fields)
    numbers = there.numbers(primary)
    if not any(index.is_primary and index.columns == numbers for index in there.indexes):
        names = ", ".join(map(quoted, primary))
        statement = f"ALTER TABLE {quoted('public', table)} ADD PRIMARY KEY ({names});"
        yield _missing(table, "primary key", "primary key", statement, Severity.CRITICAL)
    for each in meta.local_concrete_fields:
        if not (each.remote_field and getattr(each, "db_constraint", False)):
            continue
        column = there.numbers((str(each.column),))
        if not any(key.columns == column for key in there.foreign_keys):
            statement = declared.foreign_key_statement(model, each)
            noun = f"foreign key of {each.column}"
            key = f"{each.column} foreign key"
            yield _missing(table, key, noun, statement, Severity.CRITICAL, named=False)


def _named(
    model: type[models.Model], there: Actual, triggers: list[declared.Named]
) -> Iterator[Reported]:
    table = model._meta.db_table
    for each in declared.named_of(model):
        if each.name not in (there.policies if each.is_policy else there.constraints):
            noun = f"{each.noun} {each.name}"
            statement = each.statement()
            yield _missing(table, each.name, noun, statement, Severity.CRITICAL, named=False)
    yield from _triggers(table, there, triggers)


def _triggers(table: str, there: Actual, triggers: list[declared.Named]) -> Iterator[Reported]:
    for each in triggers:
        if each.name not in there.triggers:
            noun = f"trigger {each.name}"
            statement = each.statement()
            yield _missing(table, each.name, noun, statement, Severity.CRITICAL, named=False)


def _missing(
    table: str, name: str, noun: str, statement: str, severity: Severity, *, named: bool = True
) -> Reported:
    title = f"public.{table}" + (f".{name}" if name else "")
    told = f"The {noun} {title}" if named else f"The {noun} of public.{table}"
    return Reported(
        title,
        severity,
        f"{told} is missing",
        "A model declares it, and the migration that makes it is applied or was skipped: somebody "
        "took it away, or it never came.",
        _in_public(statement),
        f"table public.{table}",
    )


def _in_public(statement: str) -> str:
    """Let Django's SQL, which names no schema, mean the schema of ours and no other."""
    if statement.startswith("manage.py "):
        return statement
    return f"SET search_path = public, pg_temp;\n{statement}"


def _differs(
    table: str, column: str, what: str, title: str, said: str, alter: str, how: str
) -> Reported:
    return Reported(
        f"public.{table}.{column} {what}",
        Severity.WARNING,
        f"The column public.{title}",
        said,
        f"ALTER TABLE {quoted('public', table)} {alter} {how};",
        f"table public.{table}",
    )
