"""The import itself: all of its files or nothing, as whoever asks, under their row security."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from crm.imports.catalogue import KINDS, Kind
from crm.imports.duplicates import Duplicate, count_duplicates
from crm.imports.fields import Context
from crm.imports.files import File, Options, recognise_files
from crm.imports.problems import ImportRefusedError, Problems
from crm.imports.reading import DELIMITER_NAMES, Source
from crm.imports.staging import Progress, Sheet, silent
from crm.models import Account, User
from crm.services.refusals import told_by_the_database


@dataclass
class Summary:
    """What an import did, or would do."""

    kind: str
    rows: int = 0
    created: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    first_duplicates: list[Duplicate] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    dry_run: bool = False

    @property
    def skipped(self) -> int:
        """Rows left out because they were there already."""
        return sum(self.duplicates.values())

    @property
    def created_rows(self) -> int:
        """New rows of the kind itself, without sites, lines and payments."""
        return self.created.get(self.kind, 0)


@told_by_the_database
def run_import(
    *,
    kind: str,
    sources: Sequence[Source],
    account: Account,
    by: User | None,
    options: Options = Options(),  # noqa: B008 - frozen
    dry_run: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Import files of one kind into an account. Call it inside `acting_as`.

    Rows that the account has already are skipped. Raises ImportRefusedError with every problem
    found, by line, when any row can't come in, ImportCancelledError when `progress` says so, and
    CrmError for what the database refuses; nothing is imported then, nor on a dry run.
    """
    with transaction.atomic():
        prepare_connection(account)
        expect_many_rows()
        importer = KINDS[kind]
        files = recognise_files(sources, importer.fields, options)
        sheet = stage(importer, files, account, options, progress=progress)
        sheet.problems.refuse()
        importer.resolve(sheet)
        sheet.problems.refuse()
        importer.write(sheet)
        summary = summarise(importer, sheet, files)
        summary.dry_run = dry_run
        if dry_run:
            transaction.set_rollback(True)
        else:
            _drop_staging()
    return summary


def prepare_connection(account: Account) -> None:
    """Let the transaction take its time, and one import of an account wait for another."""
    with connection.cursor() as cursor:
        # A killed worker's import ends within seconds, not with its statement.
        cursor.execute(
            "SELECT set_config('statement_timeout', '0', true), "
            "set_config('client_connection_check_interval', '5s', true), "
            "pg_advisory_xact_lock(hashtextextended('crm.imports ' || %s, 0))",
            [account.pk],
        )


def expect_many_rows() -> None:
    """Plan for sets, until the transaction or savepoint ends.

    What this transaction has just written is in no statistics: the planner takes an account's
    rows for two or three, and a nested loop over twenty thousand of them for minutes.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true)"
        )


def stage(
    importer: Kind,
    files: list[File],
    account: Account,
    options: Options,
    *,
    progress: Progress = silent,
    limit: int | None = None,
) -> Sheet:
    """Read the files into staging tables. Raises ImportRefusedError for missing columns."""
    missing = Problems()
    missing.extend(importer.check(files))
    missing.refuse()
    sheet = Sheet(
        context=Context.of(account, day_first=options.day_first),
        files=[file.source.name for file in files],
        progress=progress,
    )
    importer.stage(sheet, files, options, limit)
    return sheet


def summarise(importer: Kind, sheet: Sheet, files: list[File]) -> Summary:
    """What the staging tables and the inserts came to."""
    ((rows,),) = sheet.fetch(f"SELECT count(*) FROM {importer.main.name}")
    counts, first = count_duplicates(sheet, importer.main)
    return Summary(
        kind=importer.name,
        rows=rows,
        created=sheet.created,
        duplicates=counts,
        first_duplicates=first,
        files=[describe(file) for file in files],
    )


def describe(file: File) -> dict[str, Any]:
    """How a file was read."""
    return {
        "name": file.source.name,
        "encoding": file.encoding,
        "delimiter": DELIMITER_NAMES.get(file.delimiter, file.delimiter),
        "columns": file.columns.mapping(),
        "ignored": list(file.columns.ignored),
    }


def _drop_staging() -> None:
    """A second import in the same transaction makes tables of the same names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class "
            "WHERE relnamespace = pg_my_temp_schema() AND relname LIKE 'import\\_%' "
            "AND relkind = 'r'"
        )
        (names,) = cursor.fetchone()
        if names:
            cursor.execute(f"DROP TABLE {names}")


__all__ = ["ImportRefusedError", "Options", "Summary", "run_import"]
