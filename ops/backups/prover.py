"""Counting and hashing a snapshot's tables, beside pg_dump, which writes the same ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import batched

import psycopg
from psycopg import sql

from ops.backups.errors import BackupError
from ops.backups.proof import TableProof
from ops.backups.proving import SMALL, TOGETHER, table_proofs
from ops.backups.snapshot import Snapshot, Table
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line


class Prover:
    """Computes the proof in threads of its own, one for each session.

    `first` is called in the snapshot's own session, before its tables.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        seen: Snapshot,
        first: Callable[[Connection], None],
        tables: Sequence[list[Table]],
        jobs: int,
    ) -> None:
        self.proofs: list[TableProof] = []
        self._connect, self._seen, self._first = connect, seen, first
        self._waiting = iter(tables)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        work: list[Callable[[], None]] = [self._prove_here]
        work += [self._prove_beside] * (min(jobs, len(tables)) - 1)
        self._threads = [
            threading.Thread(target=self._run, args=(each,), name="backup-proof", daemon=True)
            for each in work
        ]
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what went wrong, as soon as anybody asks."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until every table is proven."""
        for thread in self._threads:
            thread.join()
        self.check()

    def stop(self) -> None:
        """Let it end within a second, also in the middle of a table."""
        self._stopped.set()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised where the dump is read)
            self._error = self._error or _told(error)
            self.stop()

    def _prove_here(self) -> None:
        self._first(self._seen.connection)
        self._prove(self._seen.connection)

    def _prove_beside(self) -> None:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(
                sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._seen.id))
            )
            self._prove(connection)

    def _prove(self, connection: Connection) -> None:
        while (tables := self._next()) is not None:
            self.proofs += table_proofs(connection, tables, cancelled=self._stopped.is_set)

    def _next(self) -> list[Table] | None:
        with self._taking:
            return next(self._waiting, None)


@contextmanager
def proving(
    connect: Callable[[], Connection],
    seen: Snapshot,
    first: Callable[[Connection], None],
    tables: Sequence[list[Table]],
    *,
    jobs: int,
) -> Iterator[Prover]:
    """Prove the snapshot's tables while the block dumps them; it is stopped at the block's end.

    `connect` opens further sessions, each in autocommit mode; `first` comes before all tables.
    """
    prover = Prover(connect, seen, first, tables, jobs)
    try:
        yield prover
    finally:
        prover.stop()
        for thread in prover._threads:
            thread.join(30)


def largest_first(connection: Connection, tables: Sequence[Table]) -> list[list[Table]]:
    """Return tables by size, those together that are small enough to be read in one query.

    Begun last, the largest would be waited for alone.
    """
    rows = connection.execute(
        "SELECT oid, pg_table_size(oid::oid) FROM unnest(%s::bigint[]) AS oid",
        [[table.oid for table in tables]],
    ).fetchall()
    sizes: dict[int, int] = dict(rows)
    ordered = sorted(tables, key=lambda table: -(sizes.get(table.oid) or 0))
    small = [table for table in ordered if (sizes.get(table.oid) or 0) <= SMALL]
    alone = ordered[: len(ordered) - len(small)]
    return [*([table] for table in alone), *(list(some) for some in batched(small, TOGETHER))]


def _told(error: BaseException) -> BaseException:
    if isinstance(error, psycopg.Error):
        return BackupError(
            f"The database could not be read to its end for the proof: {one_line(error)}. Nothing "
            "that looks like a backup was left. Check the server and run this again."
        )
    return error
