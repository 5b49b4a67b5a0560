"""`seed` against a bare COPY of the very same rows into the same tables.

The peer's rows come ready from files, so it measures what PostgreSQL itself needs for them: the
same indexes, keys, checks, row and history triggers, in one transaction like ours. Ours makes the
rows up as it goes and analyses the tables at the end.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.result import Result, timed
from benchmarks.server import OWNER, SEED, TODAY, Bench

_BATCH = 4 << 20  # the peer's COPY statements hold about as many rows as ours
_ROUNDS_UP_TO = ((100_000, 5), (1_000_000, 2))


def run(bench: Bench) -> list[Result]:
    """Rows a second, ours by the peer's; whoever goes first changes from round to round."""
    from tests.harness import run as harness

    folder = harness.folder() / "files"
    folder.mkdir()
    files = _save_rows(bench, folder)
    rows = sum(count for _, count in files.values())
    rounds = next((times for most, times in _ROUNDS_UP_TO if bench.scale.customers <= most), 1)
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds):
        for who in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            seconds = _seed(bench) if who == "ours" else _bare_copy(bench, files)
            bench.say(f"seed_copy: {who} {seconds:.1f} s")
            (ours if who == "ours" else theirs).append(rows / seconds)
    our_rate, their_rate = statistics.median(ours), statistics.median(theirs)
    return [
        Result(
            f"seed of {bench.scale.customers:,} customers ({rows:,} rows)",
            "bare COPY of the same rows",
            f"{our_rate:,.0f} rows/s",
            f"{their_rate:,.0f} rows/s",
            our_rate / their_rate,
            ">= 0.5",
        )
    ]


def _seed(bench: Bench) -> float:
    from billing.seeding.bulk import load_scale
    from crm.seeding.progress import Silent

    with bench.empty("seed") as name, bench.pointed_at(name):
        return timed(lambda: load_scale(bench.scale, seed=SEED, today=TODAY, progress=Silent()))


def _tables() -> tuple[str, ...]:
    from crm.seeding.bulk.load import SEEDED_TABLES

    return (*SEEDED_TABLES[:2], "users_groups", *SEEDED_TABLES[2:], "user_subscriptions")


def _save_rows(bench: Bench, folder: Path) -> dict[str, tuple[Path, int]]:
    """Every seeded row in a file per table, with the columns that are not generated."""
    files = {}
    with bench.connect(bench.large(), OWNER) as connection:
        for table in _tables():
            path = folder / table
            statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY id) TO STDOUT")
            if table == "accounts":
                statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY user_id) TO STDOUT")
            columns = sql.SQL(", ").join(map(sql.Identifier, _columns(connection, table)))
            with path.open("wb") as file, connection.cursor() as cursor:
                with cursor.copy(statement.format(columns, sql.Identifier(table))) as stream:
                    for block in stream:
                        file.write(block)
                files[table] = (path, cursor.rowcount)
    return files


def _columns(connection: psycopg.Connection[tuple[object, ...]], table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass "
        "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        [table],
    ).fetchall()
    return [str(row[0]) for row in rows]


def _bare_copy(bench: Bench, files: dict[str, tuple[Path, int]]) -> float:
    with bench.empty("bare") as name, bench.connect(name, OWNER) as connection:
        return timed(lambda: _copy_in(connection, files))


def _copy_in(
    connection: psycopg.Connection[tuple[object, ...]], files: dict[str, tuple[Path, int]]
) -> None:
    from crm.seeding.bulk.buffers import ignored_triggers

    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [ignored_triggers()])
        for table, (path, _) in files.items():
            columns = sql.SQL(", ").join(map(sql.Identifier, _columns(connection, table)))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
            if table == "products":
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with path.open("rb") as file:
                while lines := file.readlines(_BATCH):
                    with cursor.copy(statement) as stream:
                        for start in range(0, len(lines), 500):
                            stream.write(b"".join(lines[start : start + 500]))
