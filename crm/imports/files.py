"""Opened files with their columns recognised, row by row as fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crm.imports.fields import Context, Field
from crm.imports.headers import Columns, check_mapping, missing, recognise, simplify
from crm.imports.problems import ImportRefusedError, Problem, Problems
from crm.imports.reading import Source, Table
from crm.imports.staging import Sheet
from crm.imports.values import ValueRefusedError, clean

ToRow = Callable[[dict[str, Any], Context], tuple[Any, ...] | None]
_REPORT_EVERY = 1_000


@dataclass(frozen=True)
class Options:
    """How to read the files, where their own ways do not tell.

    `mapping`: column to field, or to `-` to leave the column out. `day_first`: whether 1/2/2024 is
    in February; by the account's country if None. `paid`: whether imported invoices are paid,
    whatever the files say; as they say if None.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    delimiter: str = ""
    day_first: bool | None = None
    paid: bool | None = None


@dataclass(frozen=True)
class File:
    """A file whose columns are known."""

    number: int
    source: Source
    encoding: str
    delimiter: str
    header_line: int
    columns: Columns
    shown_name: str

    def open(self) -> Table:
        """The file's rows, from the top."""
        named = replace(self.source, name=self.shown_name)
        return Table(named, encoding=self.encoding, delimiter=self.delimiter)

    def wanted(self, fields: Sequence[Field], groups: Any) -> Iterator[Problem]:
        """A problem for each group of fields of which the file has none."""
        for names, what in groups:
            problem = missing(
                self.columns, fields, names, what, line=self.header_line, file=self.shown_name
            )
            if problem:
                yield problem

    @property
    def id_column(self) -> str:
        """What the file calls its ids, simplified: `orderid` makes a job “Order 10248”."""
        if "external_id" not in self.columns:
            return ""
        return simplify(self.columns.name_of("external_id"))


def recognise_files(
    sources: Sequence[Source], fields: Sequence[Field], options: Options
) -> list[File]:
    """Open each file once and recognise its columns. Raises ImportRefusedError, see `reading`."""
    heads = []
    shown_names = [source.name if len(sources) > 1 else "" for source in sources]
    for source, shown_name in zip(sources, shown_names, strict=True):
        named = replace(source, name=shown_name)
        with Table(named, encoding=options.encoding, delimiter=options.delimiter) as table:
            heads.append((table.encoding, table.delimiter, table.header_line, table.header))
    mapping = check_mapping(options.mapping, fields, [head[-1] for head in heads])
    files = []
    for number, (source, head) in enumerate(zip(sources, heads, strict=True)):
        encoding, delimiter, line, header = head
        shown_name = shown_names[number]
        columns = recognise(header, fields, mapping, line=line, file=shown_name)
        files.append(File(number, source, encoding, delimiter, line, columns, shown_name))
    return files


def staged_rows(
    sheet: Sheet,
    file: File,
    fields: Sequence[Field],
    to_row: ToRow,
    extra: Mapping[str, Any],
    limit: int | None = None,
) -> Iterator[tuple[Any, ...]]:
    """A file's rows for a staging table; what is wrong with one is put down with its line.

    `extra` is given to every row beside its fields. Stops after `limit` rows.
    """
    context = replace(sheet.context, comma_decimals=file.delimiter == ";")
    parser = _RowParser(file, fields, context, sheet.problems)
    with file.open() as table:
        for count, (line, texts) in enumerate(table.rows(sheet.problems)):
            if limit is not None and count >= limit:
                sheet.complete = False
                return
            if count % _REPORT_EVERY == 0:
                sheet.progress("Reading", table.position, table.size)
            row = parser.parse(line, texts)
            if row is None:
                continue
            row |= extra
            try:
                staged = to_row(row, context)
            except ValueRefusedError as error:
                sheet.problems.add(Problem(line, str(error), file=file.shown_name))
                continue
            if staged is not None:
                sheet.rows += 1
                yield (sheet.rows, file.number, line, *staged)
        sheet.progress("Reading", table.size, table.size)


class _RowParser:
    """Turns a row's texts into its fields' values."""

    def __init__(
        self, file: File, fields: Sequence[Field], context: Context, problems: Problems
    ) -> None:
        self.file, self.context, self.problems = file, context, problems
        self.empty = {known.name: known.empty for known in fields}
        places = file.columns.places
        self.present = [
            (known.name, known.parse, places[known.name])
            for known in fields
            if known.name in places
        ]

    def parse(self, line: int, texts: Sequence[str]) -> dict[str, Any] | None:
        """The values by field; None when one of them can't be read."""
        row = self.empty.copy()
        good = True
        for name, parse, places in self.present:
            for place in places:
                text = clean(texts[place])
                if not text:
                    continue
                try:
                    row[name] = parse(text, self.context)
                except ValueRefusedError as error:
                    column = self.file.columns.header[place]
                    self.problems.add(Problem(line, str(error), column, self.file.shown_name))
                    good = False
                break
        return row if good else None


def stage_all(
    sheet: Sheet, files: Sequence[File], rows: Callable[[File], Iterator[tuple[Any, ...]]]
) -> Iterator[tuple[Any, ...]]:
    """The rows of all files, one after the other; a file that breaks off is put down as well."""
    for file in files:
        try:
            yield from rows(file)
        except ImportRefusedError as refusal:
            sheet.problems.extend(refusal.problems)
