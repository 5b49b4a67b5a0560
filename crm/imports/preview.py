"""What an upload would become, before anything is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from crm.errors import CrmError
from crm.imports.catalogue import KINDS, Kind
from crm.imports.duplicates import Duplicate, count_duplicates
from crm.imports.fields import Field
from crm.imports.files import File, Options, recognise_files
from crm.imports.headers import IGNORE
from crm.imports.problems import ImportRefusedError, Problem
from crm.imports.reading import DELIMITER_NAMES, Source
from crm.imports.run import expect_many_rows, stage
from crm.imports.staging import Sheet
from crm.models import Account, ImportKind

# A preview answers within a second or two; the import itself looks at every row.
PREVIEW_ROWS = 20_000
_SHOWN = 8
_NOT_SHOWN = frozenset({"flat", "is_paid", "candidates", "customer_id", "site_id", "number"})


@dataclass(frozen=True)
class Column:
    """A column of a file: what it holds, and which field it was taken for."""

    name: str
    example: str
    field: str


@dataclass
class FilePreview:
    """How one file was read."""

    name: str
    encoding: str
    delimiter: str
    columns: list[Column]


@dataclass
class Preview:
    """The first rows as they would become, and the counts of all that were looked at."""

    fields: Sequence[Field]
    files: list[FilePreview] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    total: int = 0
    skipped: int = 0
    duplicates: dict[str, int] = field(default_factory=dict)
    first_duplicates: list[Duplicate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    complete: bool = True

    @property
    def new(self) -> int:
        """Rows that would be imported."""
        return self.total - self.skipped

    @property
    def may_start(self) -> bool:
        """Whether the import would not be refused, as far as can be seen."""
        return not self.problem_count and bool(self.files)


def preview(*, kind: str, sources: Sequence[Source], account: Account, options: Options) -> Preview:
    """Read the files and find duplicates, in tables that are gone afterwards.

    Call it inside `acting_as`. What is wrong with the files is in the result.
    """
    importer = KINDS[kind]
    shown = Preview(fields=importer.fields)
    with transaction.atomic():
        try:
            with transaction.atomic():
                _fill(shown, importer, sources, account, options)
                transaction.set_rollback(True)
        except ImportRefusedError as refusal:
            shown.problems = [*shown.problems, *refusal.problems]
            shown.problem_count += refusal.count
        except CrmError as error:
            shown.problems.append(Problem(0, str(error)))
            shown.problem_count += 1
    return shown


def _fill(
    shown: Preview, importer: Kind, sources: Sequence[Source], account: Account, options: Options
) -> None:
    expect_many_rows()
    files = recognise_files(sources, importer.fields, options)
    shown.files = [_file_preview(file) for file in files]
    sheet = stage(importer, files, account, options, limit=PREVIEW_ROWS)
    shown.complete = sheet.complete
    # Half of the invoices and all of the lines, or the other way round, do not fit together.
    if not sheet.problems and (sheet.complete or importer.name != ImportKind.INVOICES):
        importer.resolve(sheet)
    ((shown.total,),) = sheet.fetch(f"SELECT count(*) FROM {importer.main.name}")
    shown.duplicates, shown.first_duplicates = count_duplicates(sheet, importer.main)
    shown.skipped = sum(shown.duplicates.values())
    shown.problems = sorted(sheet.problems.first, key=lambda problem: (problem.file, problem.line))
    shown.problem_count = sheet.problems.count
    _fill_rows(shown, importer, sheet)


def _fill_rows(shown: Preview, importer: Kind, sheet: Sheet) -> None:
    labels = {known.name: known.label for known in importer.fields}
    names = [name for name, _ in importer.main.columns if name not in _NOT_SHOWN]
    rows = sheet.fetch(
        f"SELECT line, skip, {', '.join(names)} FROM {importer.main.name} ORDER BY n LIMIT {_SHOWN}"
    )
    used = [
        place
        for place, name in enumerate(names)
        if any(row[place + 2] not in {None, ""} for row in rows)
    ]
    shown.header = ["Line", "Becomes"]
    shown.header += [labels.get(names[place], _label(names[place])) for place in used]
    shown.rows = [
        [row[0], f"skipped: {row[1]}" if row[1] else "new", *(row[place + 2] for place in used)]
        for row in rows
    ]


def _label(name: str) -> str:
    known = {"phone_e164": "Phone, as compared", "customer_ref": "Customer's external id"}
    return known.get(name, name.replace("_", " ").capitalize())


def _file_preview(file: File) -> FilePreview:
    with file.open() as table:
        examples = table.sample()
    taken = {place: name for name, places in file.columns.places.items() for place in places}
    columns = [
        Column(name, examples[place] if place < len(examples) else "", taken.get(place, IGNORE))
        for place, name in enumerate(file.columns.header)
    ]
    delimiter = DELIMITER_NAMES.get(file.delimiter, file.delimiter)
    return FilePreview(file.source.name, file.encoding, delimiter, columns)
