"""What a crash, an upgrade or a forgotten transaction takes away is told, and mended as told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.utils import timezone

from ops.health.checks.durability import (
    collation_versions,
    prepared_transactions,
    unlogged_tables,
)
from ops.health.checks.server_settings import server_settings
from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import run_checks
from ops.health.thresholds import Thresholds
from ops.models import Severity
from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from tests.harness import run
from tests.ops.health.conftest import Patient
from tests.ops.health.rolled_back import steps

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
# What whoever set up this server thought would make it faster.
CARELESS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "zero_damaged_pages": "on",
    "ignore_checksum_failure": "on",
    "session_replication_role": "replica",
    "log_statement": "all",
    "log_min_error_statement": "panic",
    "debug_print_plan": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "summarize_wal": "off",
    "max_prepared_transactions": "2",
}


@pytest.fixture(scope="module")
def careless() -> Iterator[EmbeddedServer]:
    """Return a server that is told to lose data."""
    folder = Path(tempfile.mkdtemp(dir=run.folder()))
    folder.chmod(0o711)
    server = EmbeddedServer(folder / "postgres", settings={**configuration.THROW_AWAY, **CARELESS})
    server.start()
    yield server
    server.destroy()


def connect(server: EmbeddedServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(**server.connection, autocommit=True)


def found_on(
    server: EmbeddedServer, check: Check, limits: Thresholds | None = None
) -> dict[str, Reported]:
    """What a check reports about a server of the test's own."""
    context = Context(Endpoint("", "", "", "", None), timezone.now(), limits=limits)
    context._connection = psycopg.connect(**server.connection, autocommit=True)
    try:
        (outcome,) = run_checks([check], context, {}, Counter())
    finally:
        context.close()
    assert outcome.is_complete, outcome.reported
    return {each.key: each for each in outcome.reported}


def test_settings_that_lose_data(careless: EmbeddedServer) -> None:
    found = found_on(careless, server_settings)
    assert {key: each.severity for key, each in found.items()} == {
        "fsync": CRITICAL,
        "full_page_writes": CRITICAL,
        "synchronous_commit": WARNING,
        "zero_damaged_pages": CRITICAL,
        "ignore_checksum_failure": CRITICAL,
        "session_replication_role": CRITICAL,
        "log_statement": WARNING,
        "log_min_error_statement": WARNING,
        "debug_print_plan": WARNING,
        "wal_level": WARNING,
    }
    with connect(careless) as connection:
        for statement in steps(found):
            connection.execute(statement)
    # The level of WAL takes a restart, and its finding says so.
    careless.stop()
    careless.start()
    assert found_on(careless, server_settings) == {}
    with connect(careless) as connection:
        # Nothing else was changed.
        changed = connection.execute(
            "SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in changed] == sorted(found)


def test_a_transaction_that_was_prepared_and_forgotten(careless: EmbeddedServer) -> None:
    with connect(careless) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        for gid in ("it's mine", "other"):
            connection.execute("BEGIN; INSERT INTO kept VALUES (1)")
            connection.execute(f"PREPARE TRANSACTION '{gid.replace(chr(39), chr(39) * 2)}'")
        assert found_on(careless, prepared_transactions) == {}  # they are young
        at_once = Thresholds(prepared_seconds=-60)
        found = found_on(careless, prepared_transactions, at_once)
        assert {key: each.severity for key, each in found.items()} == {
            "it's mine": WARNING,
            "other": WARNING,
        }
        connection.execute(found["it's mine"].next_step)
        assert list(found_on(careless, prepared_transactions, at_once)) == ["other"]
        connection.execute(found["other"].next_step)
        assert found_on(careless, prepared_transactions, at_once) == {}


def test_tables_that_a_crash_empties(patient: Patient) -> None:
    assert patient.found(unlogged_tables) == {}
    patient.execute(
        "ALTER TABLE ops_sample SET UNLOGGED", "CREATE SCHEMA reports",
        'CREATE UNLOGGED TABLE reports."Some" (id int GENERATED ALWAYS AS IDENTITY)',
        "CREATE TEMPORARY TABLE theirs (n int)",
    )  # fmt: skip
    found = patient.found(unlogged_tables)
    assert {key: each.severity for key, each in found.items()} == {
        "public.ops_sample": CRITICAL,
        "reports.Some": WARNING,
    }
    patient.execute(*steps(found))
    assert patient.found(unlogged_tables) == {}
    left = "SELECT count(*) FROM pg_class WHERE relpersistence = 'u'"
    assert patient.execute(left) == [(0,)]


def test_indexes_that_were_built_in_another_order(patient: Patient) -> None:
    assert patient.found(collation_versions) == {}
    ((major,),) = patient.execute("SELECT current_setting('server_version_num')::int / 10000")
    provider = "builtin, locale = 'C.UTF-8'" if major >= 17 else "icu, locale = 'en'"
    patient.execute(
        f"CREATE COLLATION ours (provider = {provider})",
        'CREATE TABLE names (name text COLLATE ours, "Other" text COLLATE ours,'
        " EXCLUDE USING btree (name WITH =))",
        'CREATE INDEX "By name" ON names (name)',
        "UPDATE pg_collation SET collversion = '0.old' WHERE collname = 'ours'",
    )
    found = patient.found(collation_versions)
    assert {key: each.severity for key, each in found.items()} == {
        "collation public.ours": CRITICAL
    }
    assert 'REINDEX INDEX CONCURRENTLY public."By name";' in steps(found)
    files = (
        "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'i' AND relname IN ('By name')"
    )
    before = patient.execute(files)
    patient.execute(*steps(found))
    assert patient.found(collation_versions) == {}
    assert patient.execute(files) != before


def test_a_database_whose_default_order_changed(patient: Patient) -> None:
    patient.execute(
        "UPDATE pg_database SET datcollversion = '0.old' WHERE datname = current_database()"
    )
    known = patient.execute(
        "SELECT pg_database_collation_actual_version(oid) FROM pg_database"
        " WHERE datname = current_database()"
    )
    found = patient.found(collation_versions)
    if known == [(None,)]:  # an order that never changes
        assert found == {}
        return
    assert {key: each.severity for key, each in found.items()} == {"database": CRITICAL}
    patient.execute(*steps(found))
    assert patient.found(collation_versions) == {}
