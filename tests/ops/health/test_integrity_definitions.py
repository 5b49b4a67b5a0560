"""What is switched off, unfinished, or in the way of an upgrade is found, and mended as told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ops.health.checks.definitions import (
    disabled_triggers,
    invalid_constraints,
    invalid_indexes,
    missing_primary_keys,
    unsupported_types,
)
from ops.health.checks.rows import orphans
from ops.health.steps import needs_superuser
from ops.models import Severity
from tests.harness import database
from tests.ops.health.conftest import Patient


def version(patient: Patient) -> int:
    ((number,),) = patient.execute("SELECT current_setting('server_version_num')::int / 10000")
    return int(number)


def mended_by_its_next_steps(patient: Patient, check: object, *keys: str) -> None:
    found = patient.found(check)  # type: ignore[arg-type]
    assert sorted(found) == sorted(keys)
    for each in found.values():
        patient.execute(*each.next_step.split("\n"))
    assert patient.found(check) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "check",
    [
        invalid_constraints, invalid_indexes, disabled_triggers, missing_primary_keys,
        unsupported_types,
    ],
    ids=lambda check: check.name,
)  # fmt: skip
def test_a_migrated_database_has_none_of_it(patient: Patient, check: object) -> None:
    assert patient.found(check) == {}  # type: ignore[arg-type]


def test_constraints_that_were_never_compared_with_old_rows(patient: Patient) -> None:
    patient.execute(
        'CREATE TABLE "My parent" (id int PRIMARY KEY)',
        'CREATE TABLE child (id int PRIMARY KEY, "Parent" int)',
        'ALTER TABLE child ADD CONSTRAINT to_parent FOREIGN KEY ("Parent")'
        ' REFERENCES "My parent" NOT VALID, ADD CONSTRAINT "some" CHECK (id > 0) NOT VALID',
    )
    found = patient.found(invalid_constraints)
    key = found["public.child.to_parent"]
    assert key.severity == Severity.WARNING
    assert key.title == "The foreign key to_parent of public.child does not hold for all rows"
    assert key.next_step == "ALTER TABLE public.child VALIDATE CONSTRAINT to_parent;"
    assert found["public.child.some"].detail.startswith("It is NOT VALID: rows that were there")
    mended_by_its_next_steps(
        patient, invalid_constraints, "public.child.to_parent", "public.child.some"
    )


def test_constraints_that_are_not_enforced(patient: Patient) -> None:
    if version(patient) < 18:
        with pytest.raises(psycopg.errors.Error):
            patient.execute("CREATE TABLE a (n int CHECK (n > 0) NOT ENFORCED)")
        return
    patient.execute(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE a (n int CONSTRAINT positive CHECK (n > 0) NOT ENFORCED,"
        " parent int CONSTRAINT to_parent REFERENCES parent NOT ENFORCED)",
    )
    told = patient.found(invalid_constraints)["public.a.positive"]
    assert told.title == "The check positive of public.a is not enforced"
    assert told.detail.startswith("It is NOT ENFORCED: no row is compared with it")
    patient.execute("INSERT INTO a VALUES (1, 7)", "GRANT SELECT ON a, parent TO srvc_owner")
    (orphan,) = patient.found(orphans, deep=True).values()
    assert (orphan.key, orphan.severity) == ("public.a.to_parent", Severity.WARNING)
    patient.execute("DELETE FROM a")
    mended_by_its_next_steps(
        patient, invalid_constraints, "public.a.positive", "public.a.to_parent"
    )


def test_indexes_whose_building_failed(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE a (id int PRIMARY KEY, n int)", "INSERT INTO a VALUES (1, 7), (2, 7)"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        patient.execute('CREATE UNIQUE INDEX CONCURRENTLY "One" ON a (n)')
    patient.execute(
        "CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE part PARTITION OF parts DEFAULT",
        "CREATE INDEX parts_at ON ONLY parts (at)",
    )
    found = patient.found(invalid_indexes)
    assert found["public.One"].severity == Severity.WARNING
    assert found["public.One"].title == "The index public.One of public.a is not valid"
    assert "It is unique, and equal rows may be there." in found["public.One"].detail
    assert found["public.One"].next_step == 'REINDEX INDEX CONCURRENTLY public."One";'
    assert found["public.parts_at"].detail.startswith("Not every partition has its part of it.")
    patient.execute("DELETE FROM a WHERE id = 2")
    mended_by_its_next_steps(patient, invalid_indexes, "public.One", "public.parts_at")


def test_an_index_that_is_being_built_is_not_told(patient: Patient) -> None:
    patient.execute("CREATE TABLE a (n int)")
    with (
        ThreadPoolExecutor() as threads,
        database.connect(patient.name) as other,
        other.transaction(),
    ):
        other.execute("INSERT INTO a VALUES (1)")  # the building waits for its end
        building = threads.submit(patient.execute, "CREATE INDEX CONCURRENTLY slow ON a (n)")
        while not patient.execute("SELECT 1 FROM pg_index WHERE indrelid = 'a'::regclass"):
            assert not building.done()
        assert patient.found(invalid_indexes) == {}
    building.result()


def test_what_a_reindex_left_behind_is_dropped(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE a (n int)", "CREATE INDEX a_n_ccnew1 ON a (n)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_n_ccnew1'::regclass",
    )  # fmt: skip
    (told,) = patient.found(invalid_indexes).values()
    assert told.next_step == "DROP INDEX CONCURRENTLY public.a_n_ccnew1;"
    assert told.detail.startswith("It was left behind by a REINDEX CONCURRENTLY")


def test_triggers_and_foreign_keys_that_are_switched_off(patient: Patient) -> None:
    patient.execute(
        "ALTER TABLE jobs DISABLE TRIGGER USER",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (parent int CONSTRAINT to_parent REFERENCES parent)",
        "ALTER TABLE child DISABLE TRIGGER ALL",
    )
    found = patient.found(disabled_triggers)
    key = found["public.child.to_parent"]
    assert key.severity == Severity.CRITICAL
    assert key.title == "The foreign key to_parent is switched off on public.child"
    # Each by its name: ALL would change triggers that are to fire always.
    assert key.next_step.count("ENABLE TRIGGER") == 2
    assert needs_superuser(key.next_step)
    (touch,) = [name for name in found if "touch_updated_at" in name]
    assert found[touch].next_step.startswith("ALTER TABLE public.jobs ENABLE TRIGGER pgtrigger_")
    mended_by_its_next_steps(patient, disabled_triggers, *found)


def test_a_trigger_that_fires_for_replication_alone_is_off(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE a (n int PRIMARY KEY)",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER kept BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION nothing()",
        "ALTER TABLE a ENABLE REPLICA TRIGGER kept",
    )
    (told,) = patient.found(disabled_triggers).values()
    assert told.detail.startswith("It is off but for replication (ENABLE REPLICA).")
    patient.execute("ALTER TABLE a ENABLE ALWAYS TRIGGER kept")
    assert patient.found(disabled_triggers) == {}


def test_tables_whose_rows_can_not_be_told_apart(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE a (id int, row_id int)",
        "CREATE TABLE parts (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE part PARTITION OF parts DEFAULT",
    )
    found = patient.found(missing_primary_keys)
    assert found["public.a"].severity == Severity.INFO
    assert found["public.a"].title == "public.a has no primary key"
    assert "ADD COLUMN a_id bigint GENERATED ALWAYS AS IDENTITY" in found["public.a"].next_step
    assert sorted(found) == ["public.a", "public.parts"]
    patient.execute(found["public.a"].next_step)
    assert sorted(patient.found(missing_primary_keys)) == ["public.parts"]


def test_types_that_pg_upgrade_refuses(patient: Patient) -> None:
    patient.execute(
        "CREATE DOMAIN handler AS regproc",
        "CREATE TABLE a (fine regclass, handler regproc, many regprocedure[], domain handler)",
    )
    told = patient.found(unsupported_types)["public.a.many"]
    assert told.severity == Severity.WARNING
    assert told.title == "public.a.many is of the type regprocedure[], which pg_upgrade refuses"
    mended_by_its_next_steps(
        patient, unsupported_types, "public.a.handler", "public.a.many", "public.a.domain"
    )
