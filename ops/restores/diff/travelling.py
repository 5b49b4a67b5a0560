"""Rows on their way from the one server to the other, without a stop in between."""

from __future__ import annotations

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.progress import Progress

_AT_ONCE = 512  # rows


def carry_rows(
    source: Connection,
    query: sql.Composed,
    target: Connection,
    table: sql.Composable,
    progress: Progress,
) -> None:
    """Put what a query finds on one server into a table on another. Raises psycopg.Error.

    As text, which is the same in every version; both sessions' settings should be pinned.
    """
    reading = sql.SQL("COPY ({}) TO STDOUT").format(query)
    writing = sql.SQL("COPY {} FROM STDIN").format(table)
    with (
        source.cursor() as one,
        target.cursor() as other,
        one.copy(reading) as rows,
        other.copy(writing) as copy,
    ):
        waiting: list[bytes] = []
        for row in rows:
            waiting.append(bytes(row))
            if len(waiting) == _AT_ONCE:
                copy.write(b"".join(waiting))
                waiting.clear()
                progress.check()
        copy.write(b"".join(waiting))
