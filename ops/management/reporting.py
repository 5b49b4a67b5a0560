"""Reports for a terminal, of any width, and for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.health.inspection.report import Column, Form, Report
from ops.words import ago, duration, size

_NUMERIC = {Form.NUMBER, Form.BYTES, Form.SHARE, Form.MILLISECONDS, Form.SECONDS}
_LONGEST = 300  # characters of a statement on a terminal; programs get all of it
_WIDTH = 200  # of a file


def console(stream: IO[str]) -> Console:
    """Return a console for a stream; colours are for terminals."""
    plain = not stream.isatty()
    return Console(file=stream, width=_WIDTH if plain else None, highlight=False)


def show(out: Console, reports: Iterable[Report], now: datetime) -> None:
    """Print reports, one below the other."""
    for number, report in enumerate(reports):
        if number:
            out.print()
        out.print(Text(report.title, "bold"))
        if report.rows:
            out.print(_table(report, now))
        elif not report.notes:
            out.print(Text("None.", "dim"))
        for note in report.notes:
            out.print(Text(printable(note), "yellow"))


def as_json(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """Return what programs are told of reports: rows by the names of their columns."""
    return [
        {
            "report": report.name,
            "title": report.title,
            "rows": [
                {column.name: value for column, value in zip(report.columns, row, strict=True)}
                for row in report.rows
            ],
            "notes": list(report.notes),
        }
        for report in reports
    ]


def dump(document: Any, *, indent: int | None = 2) -> str:
    """Return a document as JSON: moments as ISO 8601, lengths of time in seconds."""
    return json.dumps(document, ensure_ascii=False, indent=indent, default=_plain)


def printable(text: str) -> str:
    """Return text from elsewhere without what a terminal would obey."""
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) != "Cc" else "�"
        for character in text
    )


def _table(report: Report, now: datetime) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_header=any(column.title for column in report.columns),
    )
    for column in report.columns:
        numeric = column.form in _NUMERIC
        table.add_column(
            column.title,
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
    for row in report.rows:
        cells = zip(report.columns, row, strict=True)
        table.add_row(*(_cell(column, value, now) for column, value in cells))
    return table


def _cell(column: Column, value: Any, now: datetime) -> Text:
    if value is None:
        return Text("")
    text = _WRITERS[column.form](value, now)
    return Text(text, column.style(value) if column.style else "")


def _words(value: Any, now: datetime) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value)))
    return printable(str(value))


def _statement(value: Any, now: datetime) -> str:
    text = " ".join(printable(str(value)).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _milliseconds(value: Any, now: datetime) -> str:
    return f"{value:,.2f} ms" if value < 1000 else duration(value / 1000)


_WRITERS: dict[Form, Callable[[Any, datetime], str]] = {
    Form.TEXT: _words,
    Form.STATEMENT: _statement,
    Form.NUMBER: lambda value, now: f"{value:,}",
    Form.BYTES: lambda value, now: size(value),
    Form.SHARE: lambda value, now: f"{100 * value:.1f} %",
    Form.MILLISECONDS: _milliseconds,
    Form.SECONDS: lambda value, now: duration(value),
    Form.MOMENT: ago,
    Form.FLAG: lambda value, now: "yes" if value else "",
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    return str(value)
