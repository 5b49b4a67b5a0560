"""The kinds of rows with all their steps, under the names that people use for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crm.imports import invoicing
from crm.imports.duplicates import DuplicateRule, mark_duplicates
from crm.imports.fields import Field
from crm.imports.files import File, Options, ToRow, stage_all, staged_rows
from crm.imports.kinds import customers, invoices, jobs, products
from crm.imports.problems import Problem
from crm.imports.staging import Sheet, StagingTable
from crm.models import ImportKind

Stage = Callable[[Sheet, Sequence[File], Options, int | None], None]


@dataclass(frozen=True)
class Kind:
    """How one kind of row gets from files into the database.

    `check` finds columns that are missing, `stage` fills the staging tables (of which `main` has
    a row for each thing), `resolve` marks duplicates and what refers to nothing, `write` inserts.
    """

    name: str
    fields: tuple[Field, ...]
    main: StagingTable
    check: Callable[[Sequence[File]], list[Problem]]
    stage: Stage
    resolve: Callable[[Sheet], None]
    write: Callable[[Sheet], None]


def _each_wants(fields: Sequence[Field], groups: Any) -> Callable[[Sequence[File]], list[Problem]]:
    def check(files: Sequence[File]) -> list[Problem]:
        return [problem for file in files for problem in file.wanted(fields, groups)]

    return check


def _one_table(table: StagingTable, fields: Sequence[Field], to_row: ToRow) -> Stage:
    def stage(sheet: Sheet, files: Sequence[File], options: Options, limit: int | None) -> None:
        def rows(file: File) -> Iterator[tuple[Any, ...]]:
            extra = {"id_column": file.id_column}
            return staged_rows(sheet, file, fields, to_row, extra, limit)

        sheet.load(table, stage_all(sheet, files, rows))

    return stage


def _marks(
    table: StagingTable, target: str, rules: Sequence[DuplicateRule]
) -> Callable[[Sheet], None]:
    return lambda sheet: mark_duplicates(sheet, table, target, rules)


def _resolve_jobs(sheet: Sheet) -> None:
    rules = jobs.resolve(sheet)
    mark_duplicates(sheet, jobs.TABLE, "jobs", rules)


def _check_invoices(files: Sequence[File]) -> list[Problem]:
    problems: list[Problem] = []
    headers = lines = False
    for file in files:
        is_header = invoices.names_customer(file.columns)
        is_lines = invoices.has_lines(file.columns)
        headers, lines = headers or is_header, lines or is_lines
        if is_header or not is_lines:
            problems += file.wanted(invoices.FIELDS, invoices.HEADER_WANTED)
        if is_lines:
            problems += file.wanted(invoices.FIELDS, invoices.LINE_WANTED)
    if not problems and not headers:
        problems.append(
            Problem(0, "There are lines and no invoices. Give the file of the invoices as well.")
        )
    if not problems and not lines:
        problems.append(
            Problem(0, "There are invoices and no lines. Give the file of their lines as well.")
        )
    return problems


def _stage_invoices(
    sheet: Sheet, files: Sequence[File], options: Options, limit: int | None
) -> None:
    headers = [file for file in files if invoices.names_customer(file.columns)]
    lines = [file for file in files if invoices.has_lines(file.columns)]

    def header_rows(file: File) -> Iterator[tuple[Any, ...]]:
        extra = {
            "id_column": file.id_column,
            "flat": file in lines,
            "counts_as_paid": invoices.counts_as_paid(file.columns, file.id_column),
            "force_paid": options.paid,
        }
        return staged_rows(sheet, file, invoices.HEADER_FIELDS, invoices.to_header, extra, limit)

    def line_rows(file: File) -> Iterator[tuple[Any, ...]]:
        fields = (invoices.HEADER_FIELDS[0], *invoices.LINE_FIELDS)
        # A preview's lines are looked up by invoice: all that could belong to its first ones.
        return staged_rows(sheet, file, fields, invoices.to_line, {}, None)

    sheet.load(invoices.INVOICES, stage_all(sheet, headers, header_rows))
    sheet.load(invoices.LINES, stage_all(sheet, lines, line_rows))


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            ImportKind.CUSTOMERS.value,
            customers.FIELDS,
            customers.TABLE,
            _each_wants(customers.FIELDS, customers.REQUIRED),
            _one_table(customers.TABLE, customers.FIELDS, customers.to_row),
            _marks(customers.TABLE, "customers", customers.RULES),
            customers.write,
        ),
        Kind(
            ImportKind.PRODUCTS.value,
            products.FIELDS,
            products.TABLE,
            _each_wants(products.FIELDS, products.REQUIRED),
            _one_table(products.TABLE, products.FIELDS, products.to_row),
            _marks(products.TABLE, "products", products.RULES),
            products.write,
        ),
        Kind(
            ImportKind.JOBS.value,
            jobs.FIELDS,
            jobs.TABLE,
            _each_wants(jobs.FIELDS, jobs.REQUIRED),
            _one_table(jobs.TABLE, jobs.FIELDS, jobs.to_row),
            _resolve_jobs,
            jobs.write,
        ),
        Kind(
            ImportKind.INVOICES.value,
            invoices.FIELDS,
            invoices.INVOICES,
            _check_invoices,
            _stage_invoices,
            invoicing.resolve,
            invoicing.write,
        ),
    )
}
