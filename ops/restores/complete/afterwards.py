"""What follows once a restored database is equal: business invariants, statistics."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from ops.backups.watch import watched
from ops.invariants import Outcome, check_invariants
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError, one_line
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress
from ops.restores.errors import UnequalError

SHOWN = 20  # contradictions listed
_ANALYZE = 24 * 3600.0  # seconds
_ANALYZE_ONE = "15min"  # a foreign server that is away may never answer


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


def analyze(beside: Endpoint, progress: Progress, *, jobs: int = 2) -> list[str]:
    """Gather the statistics without which the first queries would be slow.

    Everything compared equal, so a table that can't be analyzed ends nothing: it is named, with
    the reason, and the others are analyzed all the same.
    """
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
            return _one_by_one(beside, progress) or [f"It could not be analyzed: {error}"]
    return []


def _one_by_one(beside: Endpoint, progress: Progress) -> list[str]:
    """Analyze what vacuumdb, which the first failure ends, did not come to."""
    failed = []
    with closing(beside.connect()) as connection, watched(progress.check) as watch:
        watch.stop_by(lambda: connection.cancel_safe(timeout=5))
        connection.execute(f"SET statement_timeout = '{_ANALYZE_ONE}'".encode())
        for schema, name in connection.execute(_NOT_ANALYZED).fetchall():
            try:
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, name)))
            except psycopg.Error as error:
                progress.check()
                failed.append(f"{schema}.{name} could not be analyzed: {one_line(error)}.")
    return failed


_NOT_ANALYZED = """
    SELECT n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND s.last_analyze IS NULL
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2
"""
