"""Which rows refer to which: by foreign keys, by Django's models alone, and by content types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.fields import GenericForeignKey
from django.db import models
from psycopg import sql

from ops.health.catalogue import Catalogue, ForeignKey, Table
from ops.health.context import Context
from ops.health.quoting import quoted

# So many orphans of one reference are counted; nobody needs the rest to see that it is broken.
MOST = 1_000
_EXAMPLES = 3


@dataclass(frozen=True)
class Reference:
    """Columns of one table that name rows of another."""

    key: str  # "public.jobs.jobs_customer_fk", or with the column where models alone know of it
    table: Table
    columns: tuple[str, ...]
    target: Table
    target_columns: tuple[str, ...]
    # What declares it: a constraint's name, or the model's field.
    declared_by: str
    # For a generic relation: which rows refer to this table, as column and value.
    only: tuple[tuple[str, int], ...] = ()
    as_text: bool = False  # its columns are of another type than what they name
    # The last pair of columns are ranges: the rows named have to cover it together.
    is_temporal: bool = field(default=False)
    is_enforced: bool = True  # PostgreSQL 18: a key may be there and hold nothing

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.table.title} ({', '.join(self.columns)}) → {self.target.title}"

    @property
    def condition(self) -> str:
        """What is true of a row `r` whose parent is gone; MATCH SIMPLE, as foreign keys are."""
        named = [f"r.{quoted(column)} IS NOT NULL" for column in self.columns]
        named += [f"r.{quoted(column)} = {value}" for column, value in self.only]
        pairs = list(zip(self.columns, self.target_columns, strict=True))
        suffix = "::text" if self.as_text else ""
        last = pairs.pop() if self.is_temporal else None
        same = " AND ".join(
            f"t.{quoted(theirs)}{suffix} = r.{quoted(ours)}{suffix}" for ours, theirs in pairs
        )
        target = f"{_only(self.target)}{quoted(self.target.schema, self.target.name)} t"
        if last is None:
            gone = f"NOT EXISTS (SELECT FROM {target} WHERE {same})"
        else:
            ours, theirs = (quoted(name) for name in last)
            kept = f"SELECT range_agg(t.{theirs}) FROM {target} WHERE {same}"  # noqa: S608 (quoted)
            gone = f"NOT coalesce(r.{ours} <@ ({kept}), false)"
        return " AND ".join([*named, gone])

    @property
    def source(self) -> str:
        """The table for FROM, as the foreign key means it: without what inherits from it."""
        return f"{_only(self.table)}{quoted(self.table.schema, self.table.name)} r"

    @property
    def listing(self) -> str:
        """SQL that shows the orphans."""
        return f"SELECT r.* FROM {self.source} WHERE {self.condition};"  # noqa: S608 (quoted names)

    def orphans(self, context: Context) -> tuple[int, list[str]]:
        """Return how many rows' parent is gone, counted up to MOST + 1, and a few of the keys."""
        shown = ", ".join(f"r.{quoted(column)}" for column in self.columns)
        count, examples = context.one(
            sql.SQL(
                "SELECT count(*), (array_agg(what))[1:{}] FROM (SELECT concat_ws(', ', {}) AS what "
                "FROM {} WHERE {} LIMIT {}) gone"
            ).format(
                sql.Literal(_EXAMPLES), sql.SQL(shown), sql.SQL(self.source),
                sql.SQL(self.condition), sql.Literal(MOST + 1),
            )
        )  # fmt: skip
        return count, examples or []


def any_of(context: Context, some: Sequence[Reference]) -> Iterator[str]:
    """Return the keys of those references that any row's parent is missing of, by one statement."""
    asked = (
        f"SELECT {number} WHERE EXISTS (SELECT FROM {each.source} WHERE {each.condition})"  # noqa: S608
        for number, each in enumerate(some)
    )
    return (some[row[0]].key for row in context.rows(sql.SQL(" UNION ALL ".join(asked))))


def references(context: Context) -> list[Reference]:
    """Return all references of a database, those of constraints first."""
    catalogue = context.catalogue
    found = [
        _of_constraint(catalogue, key)
        for key in catalogue.foreign_keys.values()
        if key.table in catalogue.tables and key.target in catalogue.tables
    ]
    tables = {each.name: each for each in catalogue.tables.values() if each.schema == "public"}
    covered = {
        (each.table.name, column, each.target.name) for each in found for column in each.columns
    }
    some = declared_models()
    found += _of_models(some, tables, covered, catalogue)
    return [*found, *_generic(context, some, tables)]


def declared_models() -> list[type[models.Model]]:
    """Return every model, those of many-to-many tables too."""
    return list(apps.get_models(include_auto_created=True))


def _of_constraint(catalogue: Catalogue, key: ForeignKey) -> Reference:
    table, target = catalogue.tables[key.table], catalogue.tables[key.target]
    return Reference(
        f"{table.title}.{key.name}",
        table,
        tuple(catalogue.column_names(key.table, key.columns)),
        target,
        tuple(catalogue.column_names(key.target, key.target_columns)),
        f"The foreign key {key.name}",
        # PostgreSQL 18: the period named has to be covered, not equal.
        is_temporal="PERIOD " in key.definition,
        is_enforced="NOT ENFORCED" not in key.definition,
    )


def _of_models(
    some: Iterable[type[models.Model]],
    tables: dict[str, Table],
    covered: set[tuple[str, str, str]],
    catalogue: Catalogue,
) -> Iterator[Reference]:
    for model in some:
        table = tables.get(model._meta.db_table)
        if table is None or model._meta.proxy:
            continue
        columns = set(catalogue.columns.get(table.oid, {}).values())
        for field_ in model._meta.local_concrete_fields:
            if not isinstance(field_, models.ForeignKey) or not _is_kept(field_):
                continue
            target = tables.get(field_.related_model._meta.db_table)
            if target is None or field_.column not in columns:
                continue  # the check of the schema tells it
            if (table.name, field_.column, target.name) not in covered:
                yield Reference(
                    f"{table.title}.{field_.column}",
                    table,
                    (field_.column,),
                    target,
                    (str(field_.target_field.column),),
                    f"The model {model._meta.label}, without a foreign key in the database,",
                )


def _is_kept(field_: Any) -> bool:
    """Whether rows may not outlive what they refer to: those of a history may."""
    return field_.db_constraint or field_.remote_field.on_delete is not models.DO_NOTHING


def _generic(
    context: Context, some: Sequence[type[models.Model]], tables: dict[str, Table]
) -> Iterator[Reference]:
    """References by content type and key, one for each table that rows refer to."""
    for model in some:
        table = tables.get(model._meta.db_table)
        if table is None or model._meta.proxy:
            continue
        for each in model._meta.private_fields:
            if isinstance(each, GenericForeignKey):
                yield from _of_generic(context, model, table, each, tables)


def _of_generic(
    context: Context,
    model: type[models.Model],
    table: Table,
    generic: GenericForeignKey,
    tables: dict[str, Table],
) -> Iterator[Reference]:
    kind: Any = model._meta.get_field(generic.ct_field)
    key: Any = model._meta.get_field(generic.fk_field)
    its_types = f"SELECT {quoted(kind.column)} FROM {quoted(table.schema, table.name)}"  # noqa: S608 (quoted)
    types = context.rows(
        f"SELECT id, app_label, model FROM public.django_content_type WHERE id IN ({its_types})"  # noqa: S608
    )
    for number, app_label, name in types:
        try:
            named = apps.get_model(app_label, name)
        except LookupError:
            continue  # of an app that is no longer installed: nobody reads them
        target, its = tables.get(named._meta.db_table), named._meta.pk
        if target is not None and its is not None:
            numbers = isinstance(key, models.IntegerField) and isinstance(its, models.IntegerField)
            yield Reference(
                f"{table.title}.{key.column} {app_label}.{name}",
                table,
                (key.column,),
                target,
                (its.column,),
                f"The generic relation {model._meta.label}.{generic.name}",
                ((kind.column, number),),
                as_text=not numbers,
            )


def _only(table: Table) -> str:
    return "" if table.kind == "p" else "ONLY "
