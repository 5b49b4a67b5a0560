"""Damage on the disk is found: in indexes by amcheck, in pages by their checksums."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.utils import timezone

from ops.health.checks import damage
from ops.health.checks.damage import checksum_failures, damaged_indexes
from ops.health.context import Context
from ops.health.contract import Reported
from ops.health.running import run_checks
from ops.health.thresholds import Thresholds
from ops.models import Backup, BackupKind, CheckState, Drill, Severity
from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.ops.health.conftest import Patient

# An order of its own, which then turns around under the index that was built by it.
AN_ORDER = (
    (
        "CREATE FUNCTION compared(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS"
        " 'SELECT CASE WHEN $1 < $2 THEN -1 WHEN $1 > $2 THEN 1 ELSE 0 END'"
    ),
    (
        "CREATE OPERATOR CLASS turning FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=,"
        " OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compared(int, int)"
    ),
    "CREATE TABLE numbers (n int)",
    "INSERT INTO numbers SELECT generate_series(1, 2000)",
    'CREATE INDEX "By order" ON numbers (n turning)',
)
TURNED = (
    "CREATE OR REPLACE FUNCTION compared(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS"
    " 'SELECT CASE WHEN $1 > $2 THEN -1 WHEN $1 < $2 THEN 1 ELSE 0 END'"
)


def test_a_sound_database_has_no_damage(patient: Patient) -> None:
    patient.execute(*AN_ORDER)
    assert patient.found(damaged_indexes, deep=True) == {}


def test_an_index_whose_order_is_wrong_is_named_and_built_anew(patient: Patient) -> None:
    patient.execute(*AN_ORDER, TURNED)
    (told,) = patient.found(damaged_indexes, deep=True).values()
    assert (told.key, told.severity) == ("public.By order", Severity.CRITICAL)
    assert told.title == "The index public.By order is damaged"
    assert told.detail.startswith("amcheck says: item order invariant violated for index")
    assert told.next_step == 'REINDEX INDEX CONCURRENTLY public."By order";'
    patient.execute(told.next_step)
    assert patient.found(damaged_indexes, deep=True) == {}


def test_every_index_is_read_within_some_runs(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.execute(*AN_ORDER, TURNED)
    monkeypatch.setattr(damage, "_SECONDS", 600.0)
    assert sorted(patient.found(damaged_indexes)) == ["public.By order"]
    seen = patient.memories["damaged_indexes"]
    ((indexes,),) = patient.execute(
        "SELECT count(*) FROM pg_class WHERE relkind = 'i' AND relam = "
        "(SELECT oid FROM pg_am WHERE amname = 'btree')"
    )
    assert (len(seen), "pg_catalog.pg_class_oid_index" in seen) == (indexes, True)


def test_without_the_right_to_look_a_drill_of_the_same_pages_counts(patient: Patient) -> None:
    patient.execute("DROP EXTENSION amcheck")
    outcome = patient.run(damaged_indexes)
    assert outcome.state == CheckState.BLIND
    assert outcome.reported[0].next_step == "manage.py provision"
    patient.execute("CREATE EXTENSION amcheck")
    outcome = patient.run(damaged_indexes)
    assert outcome.reported[0].next_step == "DROP EXTENSION amcheck;\nmanage.py provision"
    drilled(BackupKind.FULL, "held")  # restored from a dump, its indexes are new ones
    drilled(BackupKind.BASE, "failed")
    assert patient.run(damaged_indexes).state == CheckState.BLIND
    drilled(BackupKind.BASE, "held")
    assert patient.found(damaged_indexes) == {}
    Drill.objects.using(OWNER).update(finished_at=timezone.now() - timedelta(days=31))
    assert patient.run(damaged_indexes).state == CheckState.BLIND


def drilled(kind: BackupKind, state: str) -> None:
    backup = Backup.objects.using(OWNER).create(
        name=f"{kind} {state}", kind=kind, environment="development", taken_at=timezone.now()
    )
    Drill.objects.using(OWNER).create(
        backup=backup,
        finished_at=timezone.now(),
        steps=[{"step": "structure", "state": "held"}, {"step": "indexes", "state": state}],
    )


@pytest.fixture
def server(scratch: Path) -> Iterator[EmbeddedServer]:
    """Return a server of this test's own: failures are counted for all of its databases."""
    made = EmbeddedServer(scratch / "postgres", settings=configuration.THROW_AWAY)
    made.start()
    yield made
    made.destroy()


def on(server: EmbeddedServer, name: str) -> psycopg.Connection[tuple[Any, ...]]:
    arguments: dict[str, Any] = {**server.connection, "dbname": name}
    return psycopg.connect(**arguments, autocommit=True)


def looked(server: EmbeddedServer) -> dict[str, Reported]:
    arguments = server.connection
    place = Endpoint(str(arguments["host"]), str(arguments["port"]), "postgres", "postgres", None)
    context = Context(place, timezone.now(), limits=Thresholds())
    try:
        (outcome,) = run_checks([checksum_failures], context, {}, Counter())
    finally:
        context.close()
    assert outcome.is_complete, outcome.reported
    return {each.key: each for each in outcome.reported}


def test_a_page_that_the_disk_changed_is_told_until_statistics_are_reset(
    server: EmbeddedServer,
) -> None:
    with on(server, "postgres") as connection:
        connection.execute("CREATE DATABASE before")
        with on(server, "before") as inside:
            inside.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) n")
            row = inside.execute("SELECT relfilenode FROM pg_class WHERE relname = 't'").fetchone()
        # Copied as a file, its pages are in nobody's memory yet.
        connection.execute('CREATE DATABASE "After" TEMPLATE before STRATEGY file_copy')
        (path,) = connection.execute(
            "SELECT current_setting('data_directory') || '/base/' || oid"
            " FROM pg_database WHERE datname = 'After'"
        ).fetchone() or ("",)
    assert row is not None
    assert looked(server) == {}
    file = Path(path) / str(row[0])
    content = bytearray(file.read_bytes())
    content[5000] ^= 0xFF
    file.write_bytes(content)
    with on(server, "After") as inside, pytest.raises(psycopg.errors.DataCorrupted):
        inside.execute("SELECT sum(n) FROM t")
    (told,) = looked(server).values()
    assert (told.key, told.severity) == ("After", Severity.CRITICAL)
    assert told.title == "Pages of the database After have a wrong checksum"
    assert told.detail.startswith("1 time since statistics began, the last at ")
    with on(server, "After") as inside:
        inside.execute("SELECT pg_stat_reset()")
    assert looked(server) == {}


def test_a_server_without_checksums_is_told_where_data_is_in_earnest(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((state,),) = patient.execute("SHOW data_checksums")
    assert patient.found(checksum_failures) == {}
    monkeypatch.setattr(settings, "PRODUCTION_LIKE", True)
    found = patient.found(checksum_failures)
    assert sorted(found) == (["off"] if state == "off" else [])
    assert {each.severity for each in found.values()} <= {Severity.INFO}
