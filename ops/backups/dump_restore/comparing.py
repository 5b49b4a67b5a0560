"""What was restored, held against its manifest: by several sessions, the largest table first."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

from ops.backups.comparison import Difference, compare
from ops.backups.fingerprint import Fingerprint, extensions, fingerprint, roles
from ops.backups.lock import KEPT_ALIVE
from ops.backups.logical import describe
from ops.backups.manifest import Manifest
from ops.backups.placement import gathered, rehashed_partitions
from ops.backups.proof import Proof, TableProof
from ops.backups.prover import largest_first
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.selection import LARGE_OBJECTS, Table, all_tables
from ops.backups.watch import watched
from ops.models import BackupKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.roles import OUR_EXTENSIONS
from ops.progress import CancelledError, Progress

SHOWN = 20  # differences listed
# Provisioning's template brings these, whether the dump has them or not.
_PROVIDED = frozenset(f"extension {name}" for name in OUR_EXTENSIONS)


@dataclass(frozen=True)
class Compared:
    """What was found equal."""

    tables: int
    rows: int
    sequences: int
    definitions: int

    def __str__(self) -> str:
        return (
            f"{self.tables:,} tables, {self.rows:,} rows, {self.sequences:,} sequences and "
            f"{self.definitions:,} definitions are equal"
        )


class RowsProver:
    """Counts and hashes every table of a database in sessions of its own."""

    def __init__(
        self, place: Endpoint, tables: Sequence[list[Table]], progress: Progress, jobs: int
    ) -> None:
        self.proofs: list[TableProof] = []
        self._place, self._progress = place, progress
        self._waiting: Iterator[list[Table]] = iter(tables)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._run, name="restore-proof", daemon=True)
            for _ in range(min(max(jobs, 1), len(tables)))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let it end within a second, also in the middle of a table."""
        self._stopped.set()

    def finish(self) -> list[TableProof]:
        """Wait for every table, or raise what went wrong first."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        # Stopped between two tables, it has fewer proofs, and nothing else says so.
        if self._stopped.is_set():
            raise CancelledError("It was cancelled. Nothing of it was kept.")
        return self.proofs

    def _run(self) -> None:
        try:
            with closing(self._place.connect(**KEPT_ALIVE)) as connection:
                while (tables := self._next()) is not None:
                    self.proofs += table_proofs(connection, tables, cancelled=self._stopped.is_set)
                    self._progress.advance(len(tables))
        except Exception as error:  # noqa: BLE001 (raised where it is waited for)
            self._errors.append(error)
            self.stop()

    def _next(self) -> list[Table] | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._waiting, None)


@dataclass(frozen=True)
class Restored:
    """A restored database, and the manifest that it is held against."""

    place: Endpoint
    manifest: Manifest
    # Whose position a dump of some tables brings; None: of all that were proven.
    sequences: frozenset[tuple[str, str]] | None = None

    @cached_property
    def expected(self) -> Proof:
        """What the manifest proves."""
        assert self.manifest.proof is not None  # looked at before anything was restored
        return Proof.from_json(self.manifest.proof)

    def compare(self, progress: Progress, *, jobs: int) -> tuple[Compared, list[str]]:
        """Compare everything; return what was found, and what differs.

        Raises psycopg.Error when it can't be read.
        """
        found = self.read(progress, jobs=jobs)
        differences = [
            *map(str, self.rows_differ(found)),
            *self.definitions_differ(found.fingerprint),
        ]
        return _compared(found), differences

    def read(self, progress: Progress, *, jobs: int, definitions: bool = True) -> Proof:
        """Return what the database holds; definitions are read beside the rows."""
        expected, kind = self.expected, self.manifest.kind
        with closing(self.place.connect()) as connection:
            tables = self._tables(connection, expected)
            progress.phase("comparing", len(tables), "tables")
            prover = RowsProver(self.place, largest_first(connection, tables), progress, jobs)
            try:
                with watched(progress.check) as watch:
                    watch.stop_by(prover.stop)
                    schema = fingerprint(connection) if definitions else Fingerprint({})
                    sequences = sequence_proofs(connection)
                    proofs = prover.finish()
            finally:
                prover.stop()
        if kind == BackupKind.SCHEMA:
            # A definition's table is there, and empty.
            proofs = [each for each in proofs if each.rows]
        return Proof(proofs, sequences, schema)

    def rows_differ(self, found: Proof) -> list[Difference]:
        """Return what differs of rows and sequences."""
        expected = self.expected
        if self.sequences is not None and self.manifest.kind == BackupKind.TABLES:
            expected, found = (
                replace(
                    each,
                    sequences=[
                        one for one in each.sequences if (one.schema, one.name) in self.sequences
                    ],
                )
                for each in (expected, found)
            )
        expected, found = self._with_whole_trees(expected, found)
        return compare(
            expected,
            found,
            sequences=self.manifest.kind != BackupKind.SCHEMA,
            sequences_move=True,
            schema=False,
        )

    def _with_whole_trees(self, expected: Proof, found: Proof) -> tuple[Proof, Proof]:
        """Add up partitions among which the restore placed rows anew, as far as both have them."""
        with closing(self.place.connect()) as connection:
            whole = rehashed_partitions(connection)
        for proof in (expected, found):
            known = {(each.schema, each.name) for each in proof.tables}
            whole = {part: table for part, table in whole.items() if part in known}
        return (
            replace(expected, tables=gathered(expected.tables, whole)),
            replace(found, tables=gathered(found.tables, whole)),
        )

    def read_definitions(self) -> Fingerprint:
        """Return how the database is defined."""
        with closing(self.place.connect()) as connection:
            return fingerprint(connection)

    def definitions_differ(self, found: Fingerprint) -> list[str]:
        """Return what differs of definitions and of what no dump brings, in sentences."""
        differences: list[str] = []
        if self.manifest.kind != BackupKind.TABLES:  # which are no whole database
            before = self.expected.fingerprint
            brought = {
                key: value
                for key, value in found.objects.items()
                if key in before.objects or key not in _PROVIDED
            }
            after = replace(found, objects=brought)
            differences += map(
                str, compare(Proof([], [], before), Proof([], [], after), sequences=False)
            )
        with closing(self.place.connect()) as connection:
            differences += _others(connection, self.manifest)
        return differences

    def _tables(self, connection: Connection, expected: Proof) -> list[Table]:
        tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
        if self.manifest.kind == BackupKind.TABLES:
            wanted = {(each.schema, each.name) for each in expected.tables}
            tables = [each for each in tables if (each.schema, each.name) in wanted]
        if any(each.name == LARGE_OBJECTS.name for each in expected.tables):
            tables.append(LARGE_OBJECTS)
        return tables


def listed(differences: Sequence[str]) -> str:
    """Return differences as sentences, not all of them when that is a lot."""
    more = f" And {len(differences) - SHOWN:,} more." if len(differences) > SHOWN else ""
    return f"{' '.join(differences[:SHOWN])}{more}"


def _compared(found: Proof) -> Compared:
    return Compared(
        len(found.tables),
        sum(each.rows for each in found.tables),
        len(found.sequences),
        len(found.fingerprint.objects),
    )


def _others(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """Yield what differs of what is no object of the dump: roles, extensions, migrations."""
    known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    for name in sorted(manifest.roles.keys() - known):
        yield f"The role {name} is missing."
    for name in sorted(roles(connection).keys() - manifest.roles.keys() - {"postgres"}):
        yield f"The role {name} is named in it and not in its manifest."
    for name in sorted(manifest.extensions.keys() - extensions(connection).keys()):
        yield f"The extension {name} is missing."
    if manifest.kind in {BackupKind.FULL, BackupKind.DATA}:
        found: list[str] = describe(connection)["migrations"]
        if found != manifest.migrations:
            yield (
                f"It has {len(found):,} migrations applied instead of "
                f"{len(manifest.migrations):,}, or others."
            )
