"""Streaming rows into tables by COPY, a batch at a time.

Rows are lines of COPY's text format, made once and sent as they are: generating them costs a
fraction of what PostgreSQL needs to store them, so one process keeps the server busy.
"""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import batched, chain
from typing import Any

from psycopg import Cursor, sql

from crm.seeding.progress import Progress

# A statement-level history trigger holds one COPY's rows in memory: batches bound that.
BATCH_ROWS = 20_000
_BLOCK_ROWS = 500
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

type Value = str | int | Decimal | bool | datetime.date | datetime.datetime | None


def text_line(values: Iterable[Value]) -> str:
    """One row in COPY's text format."""
    return "\t".join(map(_field, values)) + "\n"


def _field(value: Value) -> str:
    if isinstance(value, str):
        return value.translate(_ESCAPED)
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


class Copier:
    """Writes rows through one cursor, within the transaction its caller opened."""

    def __init__(self, cursor: Cursor[Any], progress: Progress) -> None:
        self._cursor, self._progress = cursor, progress

    def copy(self, table: str, columns: Iterable[str], lines: Iterable[str]) -> int:
        """Append rows to a table, in batches, and return how many they were."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        rest, copied = iter(lines), 0
        while (first := next(rest, None)) is not None:
            rows = self._copy_batch(statement, chain([first], rest))
            self._progress.advance(rows)
            copied += rows
        return copied

    def _copy_batch(self, statement: sql.Composed, lines: Iterator[str]) -> int:
        rows = 0
        with self._cursor.copy(statement) as stream:
            for block in batched(lines, _BLOCK_ROWS):
                stream.write("".join(block))
                rows += len(block)
                if rows >= BATCH_ROWS:
                    break
        return rows

    def execute(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        self._cursor.execute(statement, tuple(parameters))
        return self._cursor.fetchall() if self._cursor.description else []

    def new_ids(self, table: str, many: int) -> array[int]:
        """So many new ids, from the table's own sequence: live traffic beside it can't collide.

        Take them before the rows are copied: a connection does one thing at a time.
        """
        ids = array("q")
        while len(ids) < many:
            taken = self.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
                [table, min(many - len(ids), BATCH_ROWS)],
            )
            ids.extend(row[0] for row in taken)
        return ids
