"""A file as rows with their line numbers, read as a stream and within limits."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from crm.imports.encodings import detect_encoding
from crm.imports.problems import Problem, Problems, refuse

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
MAX_COLUMNS = 500
# One line of text, not one row: a quoted field may span lines.
MAX_LINE = 1_000_000
_SAMPLE_ROWS = 50
_EXCEL_HINT = re.compile(r"sep=(.)\r?\n?$", re.IGNORECASE)

Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Source:
    """A file to import: its name for messages, and how to open it."""

    name: str
    size: int
    open: Callable[[], BinaryIO]

    @classmethod
    def from_path(cls, path: Path) -> Source:
        """A file on disk. Raises ImportRefusedError when it can't be read."""
        try:
            size = path.stat().st_size
            with path.open("rb"):
                pass
        except OSError as error:
            raise refuse(f"The file can't be read: {error.strerror}.", file=str(path)) from error
        return cls(path.name, size, lambda: path.open("rb"))

    @classmethod
    def from_bytes(cls, name: str, content: bytes) -> Source:
        """A file in memory, such as an upload."""
        return cls(name, len(content), lambda: io.BytesIO(content))


class Table:
    """An opened CSV file: its header, then its rows. Close it, or use it in `with`."""

    def __init__(self, source: Source, *, encoding: str = "", delimiter: str = "") -> None:
        self.name = source.name
        self.size = source.size
        limit = settings.IMPORT_MAX_BYTES
        if source.size > limit:
            raise refuse(
                f"The file has {source.size / 1e6:,.1f} MB; the limit is {limit / 1e6:,.0f} MB. "
                "Split it, or raise IMPORT_MAX_MEGABYTES.",
                file=self.name,
            )
        if source.size == 0:
            raise refuse("The file is empty.", file=self.name)
        self._stream = source.open()
        try:
            self.encoding = encoding or detect_encoding(self._stream, file=self.name)
            self._text = self._decoded()
            self._lines = self._checked_lines()
            self._skipped = self._skip_hint()
            hint = self._skipped[1]
            self.delimiter = delimiter or hint or self._detect_delimiter()
            self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
            self._records = self._read()
            self.header_line, self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file underneath."""
        self._stream.close()

    @property
    def position(self) -> int:
        """How many bytes have been taken from the file so far."""
        return self._stream.tell() if not self._stream.closed else self.size

    def rows(self, problems: Problems) -> Iterator[Row]:
        """Each row as many fields wide as the header, with the line it begins on.

        Rows with more or fewer are put down as problems. Raises ImportRefusedError where the file
        can't be read any further.
        """
        width = len(self.header)
        empty = True
        for line, fields in self._records:
            empty = False
            if len(fields) != width:
                problems.add(self._ragged(line, len(fields)))
            else:
                yield line, fields
        if empty:
            raise refuse(
                "The file has a header and no rows below it.",
                line=self.header_line,
                file=self.name,
            )

    def sample(self) -> list[str]:
        """The first row's fields, for people to recognise the columns by."""
        return next(self._records, (0, []))[1]

    def _ragged(self, line: int, found: int) -> Problem:
        fields = "1 field" if found == 1 else f"{found} fields"
        return Problem(
            line,
            f"The row has {fields}, the header has {len(self.header)}. "
            "A separator may be missing, or text with one in it not be quoted.",
            file=self.name,
        )

    def _decoded(self) -> io.TextIOWrapper:
        try:
            # newline="": the csv module sees line ends inside quotes as they are.
            return io.TextIOWrapper(self._stream, encoding=self.encoding, newline="")
        except LookupError as error:
            raise refuse(
                f"There is no encoding {self.encoding!r}; try utf-8 or cp1252.", file=self.name
            ) from error

    def _checked_lines(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            try:
                line = self._text.readline(MAX_LINE + 1)
            except UnicodeError as error:
                raise refuse(
                    f"The text is not valid {self.encoding}. Export the file again as UTF-8, or "
                    "name its encoding.",
                    line=number + _line_ends_before(error),
                    file=self.name,
                ) from error
            if not line:
                return
            if len(line) > MAX_LINE:
                raise refuse(
                    f"The line is longer than {MAX_LINE:,} characters, or the file has more than "
                    f"{MAX_COLUMNS} columns.",
                    line=number,
                    file=self.name,
                )
            if "\0" in line:
                raise refuse("The text has a NUL byte in it.", line=number, file=self.name)
            yield line

    def _skip_hint(self) -> tuple[int, str]:
        """Take Excel's `sep=;` line away: how many lines, and the separator it names."""
        first = next(self._lines, "")
        hint = _EXCEL_HINT.match(first)
        if hint:
            return 1, hint.group(1)
        self._lines = itertools.chain([first], self._lines)
        return 0, ""

    def _detect_delimiter(self) -> str:
        """The separator that splits the first rows best, all alike and into most fields."""
        sample = list(itertools.islice(self._lines, _SAMPLE_ROWS))
        self._lines = itertools.chain(sample, self._lines)
        scores = {delimiter: _score(sample, delimiter) for delimiter in DELIMITERS}
        best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
        return best if scores[best] > (0, 1) else ","

    def _read(self) -> Iterator[Row]:
        while True:
            line = self._skipped[0] + self._reader.line_num + 1
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise refuse(_explain(error), line=line, file=self.name) from error
            if any(field.strip() for field in fields):
                yield line, fields

    def _read_header(self) -> Row:
        first = next(self._records, None)
        if first is None:
            raise refuse("The file holds nothing but empty lines.", file=self.name)
        line, header = first
        if len(header) > MAX_COLUMNS:
            raise refuse(
                f"The file has {len(header):,} columns; more than {MAX_COLUMNS} are no table of "
                "customers, products, jobs or invoices.",
                line=line,
                file=self.name,
            )
        return line, [name.strip().lstrip("\ufeff") for name in header]


def _line_ends_before(error: UnicodeError) -> int:
    # The text is decoded in blocks: the bad byte may be lines further than those handed out.
    if not isinstance(error, UnicodeDecodeError):
        return 0
    return error.object[: error.start].decode(error.encoding, "replace").count("\n")


def _score(lines: Iterable[str], delimiter: str) -> tuple[float, int]:
    """How alike a separator splits the rows (0 to 1), and into how many fields at the header."""
    widths: list[int] = []
    try:
        for fields in filter(any, csv.reader(lines, delimiter=delimiter)):
            widths.append(len(fields))  # noqa: PERF401 - those before an error count
    except csv.Error:
        pass  # the sample may end inside quotes, or hold what is reported later with its line
    if not widths or widths[0] < 2:
        return 0, 1
    alike = sum(width == widths[0] for width in widths) / len(widths)
    return round(alike, 1), widths[0]


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "field larger" in text or "unexpected end" in text:
        return (
            "A quoted field that begins in this row has no end, or is longer than "
            f"{csv.field_size_limit():,} characters."
        )
    if "expected after" in text:
        return "A quote inside a quoted field is not doubled, or text follows the closing quote."
    return f"The row can't be read as CSV: {text}."
