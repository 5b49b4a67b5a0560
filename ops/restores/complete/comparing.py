"""What was restored beside, held against the manifest: by several sessions, the largest first."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import psycopg

from ops.backups.comparison import compare
from ops.backups.fingerprint import extensions, fingerprint, roles
from ops.backups.lock import KEPT_ALIVE
from ops.backups.logical import describe
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof, TableProof
from ops.backups.prover import largest_first
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.selection import LARGE_OBJECTS, Table, all_tables
from ops.backups.watch import watched
from ops.invariants import Outcome, check_invariants
from ops.models import BackupKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ToolError, one_line
from ops.postgres.processes import StreamingProcess
from ops.progress import CancelledError, Progress
from ops.restores.errors import RestoreError, UnequalError

SHOWN = 20  # differences listed
_ANALYZE = 24 * 3600.0  # seconds


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


def require_equal(
    beside: Endpoint, manifest: Manifest, progress: Progress, *, jobs: int = 2
) -> Compared:
    """Hold a restored database against its manifest: rows, hashes, sequences, definitions, roles.

    Raises UnequalError, which lists what differs, and RestoreError when it could not be read.
    """
    if manifest.proof is None:
        raise RestoreError(
            f"The manifest of {manifest.name} proves nothing, so what was restored can't be held "
            "against it. The live database was not touched."
        )
    expected = Proof.from_json(manifest.proof)
    try:
        found = _found(beside, manifest, expected, progress, jobs)
        differences = [
            str(each)
            for each in compare(
                expected, found, sequences=manifest.kind != BackupKind.SCHEMA, sequences_move=True
            )
        ]
        with beside.connect() as connection:
            differences += _others(connection, manifest)
    except psycopg.Error as error:
        raise RestoreError(
            f"What was restored beside could not be read ({one_line(error)}). The live database "
            "was not touched. Check the server and run this again."
        ) from error
    if differences:
        more = f" And {len(differences) - SHOWN:,} more." if len(differences) > SHOWN else ""
        raise UnequalError(
            f"Restored beside, {manifest.name} is not what its manifest says. The live database "
            f"was not touched, and what was restored is removed. "
            f"{' '.join(differences[:SHOWN])}{more}"
        )
    return Compared(
        len(found.tables),
        sum(each.rows for each in found.tables),
        len(found.sequences),
        len(found.fingerprint.objects),
    )


def _found(
    beside: Endpoint, manifest: Manifest, expected: Proof, progress: Progress, jobs: int
) -> Proof:
    with closing(beside.connect()) as connection:
        tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
        if any(each.name == LARGE_OBJECTS.name for each in expected.tables):
            tables.append(LARGE_OBJECTS)
        progress.phase("comparing", len(tables), "tables")
        prover = RowsProver(beside, largest_first(connection, tables), progress, jobs)
        try:
            with watched(progress.check) as watch:
                watch.stop_by(prover.stop)
                schema, sequences = fingerprint(connection), sequence_proofs(connection)
                proofs = prover.finish()
        finally:
            prover.stop()
    found = Proof(proofs, sequences, schema)
    if manifest.kind == BackupKind.SCHEMA:
        # A definition's table is there, and empty.
        return replace(found, tables=[each for each in proofs if each.rows])
    return found


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


def ask_invariants(beside: Endpoint, progress: Progress) -> list[Outcome]:
    """Return what the invariants of settings came to. Raises CancelledError."""
    progress.phase("asking the invariants")
    outcomes = []
    with beside.connect() as connection, watched(progress.check) as watch:
        watch.stop_by(lambda: connection.cancel_safe(timeout=5))
        for outcome in check_invariants(connection):
            progress.check()
            outcomes.append(outcome)
            progress.advance(1)
    return outcomes


def require_true(outcomes: list[Outcome]) -> str:
    """Return what was asked, in half a sentence. Raises UnequalError for what is not true."""
    wrong = [str(each) for each in outcomes if each.contradictions]
    if wrong:
        raise UnequalError(
            "The data of that backup contradicts itself. The live database was not touched. "
            f"{' '.join(wrong[:SHOWN])} `--despite-invariants` restores it all the same."
        )
    asked = sum(1 for each in outcomes if not each.skipped)
    skipped = len(outcomes) - asked
    return f"{asked:,} hold" + (f", {skipped:,} could not be asked" if skipped else "")


def analyze(beside: Endpoint, progress: Progress, *, jobs: int = 2) -> None:
    """Gather the statistics without which the first queries would be slow. Raises RestoreError."""
    progress.phase("analyzing")
    with (
        StreamingProcess(
            beside.program("vacuumdb"),
            *beside.arguments(),
            "--no-password",
            "--analyze-only",
            "--quiet",
            f"--jobs={max(jobs, 1)}",
            environment=beside.environment(),
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        try:
            process.stdout.read()
            process.finish(_ANALYZE)
        except ToolError as error:
            progress.check()
            raise RestoreError(
                f"What was restored beside could not be analyzed: {error} The live database was "
                "not touched."
            ) from None
