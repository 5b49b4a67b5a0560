"""The difference of a million rows against reading both tables once.

The peer is a COPY of both tables, columns as they are, to nowhere, one after the other. The past is
a copy of the live rows; one row in a hundred differs in it, and then none does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
from psycopg import sql

from benchmarks.result import Result, compare, timed
from benchmarks.server import Bench
from ops.postgres.endpoint import Connection
from tests.harness import database

_ROUNDS = 3
_LOOK_EVERY = 0.02  # seconds
_MOST_MEGABYTES = 200
_TABLE = ("public", "customers")


def run(bench: Bench) -> list[Result]:
    """Time as a ratio, and the memory that the process took above what it had, in megabytes."""
    name = bench.large()
    with (
        bench.empty("past") as past_name,
        closing(database.connect(name)) as live,
        closing(database.connect(past_name)) as past,
    ):
        columns = _columns(live)
        _copy(live, past, columns)
        past.execute("UPDATE past.customers SET phone = phone || '!' WHERE id % 100 = 7")
        past.execute("VACUUM (ANALYZE) past.customers")
        changed = _measure(bench, live, past, columns)
        past.execute("UPDATE past.customers SET phone = left(phone, -1) WHERE id % 100 = 7")
        past.execute("VACUUM (ANALYZE) past.customers")
        return [*changed, *_measure(bench, live, past, columns)]


def _measure(bench: Bench, live: Connection, past: Connection, columns: list[str]) -> list[Result]:
    from ops.progress import Counter
    from ops.restores.diff.pairing import Pairing
    from ops.restores.diff.tables import difference

    pairing = Pairing([(c, c) for c in columns], ("past", "customers"), _TABLE, ("id",))
    counts: list[int] = []

    def ours() -> None:
        found = difference(live, past, pairing, Counter())
        assert not found.missing
        assert not found.extra
        counts.append(found.changed)

    def theirs() -> None:
        for connection, where in ((live, _TABLE), (past, ("past", "customers"))):
            with connection.cursor().copy(_read(where, columns)) as rows:
                for _ in rows:
                    pass

    with _peak() as peak:
        timed(ours)
    found = compare(_ROUNDS, lambda: timed(ours), lambda: timed(theirs))
    label = f"difference of {bench.scale.customers:,} rows, {counts[0]:,} changed"
    return [
        found.as_result(f"{label}, time", "COPY of both to nowhere", at_most=3),
        Result(
            f"{label}, memory in MB",
            "the process before",
            f"{peak[0]:.0f} MB",
            "0 MB",
            peak[0],
            f"<= {_MOST_MEGABYTES}",
        ),
    ]


def _columns(live: Connection) -> list[str]:
    rows = live.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.customers'::regclass"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
    ).fetchall()
    return [str(name) for (name,) in rows]


def _copy(live: Connection, past: Connection, columns: list[str]) -> None:
    """Make the past: rows without indexes, as a recovery has them."""
    past.execute("CREATE SCHEMA past")
    past.execute("CREATE TABLE past.customers (LIKE public.customers)")
    writing = sql.SQL("COPY past.customers ({}) FROM STDIN").format(_listed(columns))
    with (
        live.cursor().copy(_read(_TABLE, columns)) as rows,
        past.cursor().copy(writing) as target,
    ):
        for row in rows:
            target.write(row)


def _read(where: tuple[str, str], columns: list[str]) -> sql.Composed:
    return sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(*where), _listed(columns))


def _listed(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


@contextmanager
def _peak() -> Iterator[list[float]]:
    """Tell by how many megabytes this process grew at most within the block."""
    process = psutil.Process()
    before = process.memory_info().rss
    ended, peak = threading.Event(), [0.0]

    def look() -> None:
        while not ended.wait(_LOOK_EVERY):
            peak[0] = max(peak[0], (process.memory_info().rss - before) / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
