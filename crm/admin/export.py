"""CSV for spreadsheets: streamed, with a byte-order mark for Excel, formulas neutralised."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from ops.admin.looks import ModelAdmin

Column = str | tuple[str, Callable[[Any], Any]]
_BYTE_ORDER_MARK = "\ufeff"
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
# Digits with separators as amounts and phone numbers have them: a spreadsheet computes nothing.
_NUMBER = re.compile(r"[+-]?\d[\d\s.,()/]*")


def neutralised(text: str) -> str:
    """A cell that no spreadsheet runs as a formula.

    A text that begins with = + - @, a tab or a line break gets an apostrophe in front. Plain
    amounts and phone numbers (an optional sign, then only digits and . , ( ) / or spaces, such as
    -12.50 and +49 30 1234) stay as they are; a hyphen inside would be a subtraction.
    """
    if text.startswith(_STARTS_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def cell(value: Any, zone: dt.tzinfo) -> str:
    """One value as a spreadsheet reads it: ISO dates in the account's time, plain amounts."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dt.datetime():
            return timezone.localtime(value, zone).strftime("%Y-%m-%d %H:%M")
        case Decimal():
            return f"{value:f}"
        case _:
            return neutralised(str(value))


class _Line:
    def write(self, text: str) -> str:
        return text


def lines(
    rows: Iterable[Any], columns: list[tuple[str, Callable[[Any], Any]]], zone: dt.tzinfo
) -> Iterator[str]:
    """The file, line by line, so that a million rows need no memory."""
    writer = csv.writer(_Line())
    yield _BYTE_ORDER_MARK + writer.writerow([title for title, _ in columns])
    for row in rows:
        yield writer.writerow([cell(read(row), zone) for _, read in columns])


def _reader(path: str) -> Callable[[Any], Any]:
    def read(row: Any) -> Any:
        for name in path.split("."):
            if row is None:
                return None
            row = getattr(row, name)
        return row

    return read


class ExportMixin(ModelAdmin):
    """Adds the action "Export as CSV" to a list."""

    # Paths such as `customer.name`, or a title with a function of the row.
    csv_columns: ClassVar[tuple[Column, ...]] = ()
    actions: Any = ("export_csv",)

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether the user may take all rows away: whoever may add some, so no technician."""
        return bool(self.csv_columns) and self.has_add_permission(request)

    @admin.action(description="Export as CSV", permissions=["export"])
    def export_csv(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> StreamingHttpResponse:
        """Stream the chosen rows."""
        columns = [
            (column.replace(".", " ").replace("_", " ").capitalize(), _reader(column))
            if isinstance(column, str)
            else column
            for column in self.csv_columns
        ]
        related = {
            column.split(".")[0]
            for column in self.csv_columns
            if isinstance(column, str) and "." in column
        }
        # The body is produced after the request, when its time zone is no longer in force.
        zone = timezone.get_current_timezone()
        name = str(self.opts.verbose_name_plural).replace(" ", "-")
        return StreamingHttpResponse(
            lines(queryset.prefetch_related(*related).iterator(chunk_size=2000), columns, zone),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": (
                    f'attachment; filename="{name}-{timezone.localdate():%Y-%m-%d}.csv"'
                ),
                "Cache-Control": "no-store",
            },
        )
