"""What VACUUM and ANALYZE have not done is told once autovacuum had time to come by itself."""

from __future__ import annotations

import pytest

from ops.health.checks.vacuum import autovacuum_off, behind_autovacuum, never_analyzed, wraparound
from ops.health.steps import needs_superuser
from ops.models import Severity
from tests.ops.health.conftest import Patient

BIG = "CREATE TABLE public.big AS SELECT n FROM generate_series(1, 5000) n"
FLUSH = "SELECT pg_stat_force_next_flush()"


def test_a_table_that_nobody_analyzed_is_told_when_autovacuum_had_its_time(
    patient: Patient,
) -> None:
    patient.execute(BIG, FLUSH)
    # It may be on its way: the table was filled a moment ago.
    assert patient.found(never_analyzed) == {}
    (found,) = patient.found(never_analyzed, vacuum_patience_seconds=0).values()
    assert (found.key, found.severity) == ("public.big", Severity.WARNING)
    assert found.detail == "It has about 5,000 rows, and the planner knows nothing about them."
    assert found.next_step == "ANALYZE public.big;"
    patient.execute(found.next_step)
    assert patient.found(never_analyzed, vacuum_patience_seconds=0) == {}
    assert patient.memories["never_analyzed"] == {"since": {}}


def test_dead_rows_beyond_what_calls_autovacuum_are_told(patient: Patient) -> None:
    patient.execute(BIG, "ANALYZE public.big", "DELETE FROM public.big WHERE n > 2600", FLUSH)
    impatient = {"vacuum_patience_seconds": 0, "vacuum_overdue": 2.0}
    assert patient.found(behind_autovacuum) == {}
    (found,) = patient.found(behind_autovacuum, **impatient).values()
    assert (found.title, found.severity) == ("VACUUM is overdue on public.big", Severity.WARNING)
    assert found.detail.startswith("It has 2,400 dead rows; autovacuum should have come at 1,050.")
    assert found.next_step == "VACUUM (ANALYZE) public.big;"
    # A table's own options count.
    patient.execute("ALTER TABLE public.big SET (autovacuum_vacuum_threshold = 9000)")
    assert patient.found(behind_autovacuum, **impatient)["public.big"].title == (
        "ANALYZE is overdue on public.big"
    )
    patient.execute(found.next_step, FLUSH)
    assert patient.found(behind_autovacuum, **impatient) == {}


def test_what_was_overdue_and_came_is_waited_for_anew(patient: Patient) -> None:
    patient.execute(BIG, FLUSH)
    patient.found(never_analyzed)
    first = patient.memories["never_analyzed"]["since"]
    patient.found(never_analyzed)
    assert patient.memories["never_analyzed"]["since"] == first
    assert list(first) == ["public.big"]


def test_a_table_that_autovacuum_leaves_alone_is_told(patient: Patient) -> None:
    assert patient.found(autovacuum_off) == {}
    patient.execute("CREATE TABLE public.still (n int) WITH (autovacuum_enabled = off)")
    (found,) = patient.found(autovacuum_off).values()
    assert (found.key, found.severity) == ("public.still", Severity.WARNING)
    assert found.title == "Autovacuum is switched off for public.still"
    patient.execute(found.next_step)
    assert patient.found(autovacuum_off) == {}


@pytest.mark.parametrize("setting", ["track_counts"])
def test_a_server_without_autovacuum_is_critical(patient: Patient, setting: str) -> None:
    # For the owner alone: autovacuum itself can't be switched off for one database.
    patient.execute(f"ALTER ROLE srvc_owner IN DATABASE {patient.name} SET {setting} = off")
    (found,) = patient.found(autovacuum_off).values()
    assert (found.key, found.severity) == (f"setting {setting}", Severity.CRITICAL)
    assert found.next_step.endswith(f"ALTER SYSTEM SET {setting} = on;\nSELECT pg_reload_conf();")


def test_a_table_whose_rows_are_too_old_is_told_before_numbers_run_out(patient: Patient) -> None:
    assert patient.found(wraparound) == {}
    patient.execute(BIG)
    # As if 700 million transactions had passed since it was vacuumed.
    age = (
        "UPDATE pg_class SET relfrozenxid ="
        " ((pg_current_xact_id()::text::bigint + 4294967296 - {}) % 4294967296)::text::xid"
        " WHERE oid = 'public.big'::regclass"
    )
    patient.execute(age.format(700_000_000))
    (found,) = patient.found(wraparound).values()
    assert (found.key, found.severity) == ("table public.big", Severity.WARNING)
    assert found.title == "Transaction numbers run out: 1,447 million are left for public.big"
    assert found.next_step == "VACUUM (FREEZE) public.big;"
    worse = patient.found(wraparound, wraparound_critical=1_450_000_000)
    assert worse["table public.big"].severity == Severity.CRITICAL
    patient.execute(found.next_step)
    assert patient.found(wraparound) == {}
    # A large one is told a little before autovacuum comes by force.
    patient.execute(age.format(199_000_000))
    assert patient.found(wraparound) == {}
    (found,) = patient.found(wraparound, table_bloat_bytes=1).values()
    assert (found.key, found.severity) == ("soon public.big", Severity.INFO)


def test_another_database_of_the_server_counts(patient: Patient) -> None:
    # Numbers are the server's, so the oldest database stops all of them.
    found = patient.found(wraparound, wraparound_left=2**31)
    assert needs_superuser(found["database template0"].next_step)
    assert f"database {patient.name}" not in found
