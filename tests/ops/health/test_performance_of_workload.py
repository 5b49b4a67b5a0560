"""Cache hits, temporary files, checkpoints and deadlocks of the last day, not of all time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import psycopg
from django.utils import timezone

from ops.health.checks.workload import (
    cache_hit,
    deadlocks,
    forced_checkpoints,
    temporary_files,
)
from ops.health.contract import Check
from ops.models import Severity
from tests.harness import database
from tests.ops.health.conftest import Patient

PAIR = "CREATE TABLE public.pair AS SELECT n FROM generate_series(1, 2) n"
FLUSH = "SELECT pg_stat_force_next_flush()"


def remembered(patient: Patient, check: Check, name: str, less: int) -> None:
    """Let the check remember a total that was lower by so much."""
    patient.memories[check.name]["totals"][name] -= less


def test_a_day_of_reads_from_elsewhere_than_memory_is_told(patient: Patient) -> None:
    limits: dict[str, Any] = {"cache_hit_blocks": 100_000_000, "cache_hit_share": 0.99}
    assert patient.found(cache_hit, **limits) == {}
    remembered(patient, cache_hit, "tables hit", 900_000_000)
    remembered(patient, cache_hit, "tables read", 100_000_000)
    remembered(patient, cache_hit, "indexes hit", 1_000_000_000)
    (found,) = patient.found(cache_hit, **limits).values()
    assert (found.key, found.severity) == ("tables", Severity.WARNING)
    assert found.title == "Too little of what is read of tables is in memory"
    assert found.detail.startswith("90.0% of 1,000,0")
    # Still the same day, though nothing was read since.
    assert list(patient.found(cache_hit, **limits)) == ["tables"]
    hours = patient.memories["cache_hit"]["hours"]
    (hour,) = hours
    yesterday = timezone.now() - timedelta(days=1, hours=1)
    hours[yesterday.replace(minute=0, second=0, microsecond=0).isoformat()] = hours.pop(hour)
    assert patient.found(cache_hit, **limits) == {}


def test_few_reads_say_nothing(patient: Patient) -> None:
    patient.found(cache_hit)
    remembered(patient, cache_hit, "tables read", 50_000)
    assert patient.found(cache_hit, cache_hit_blocks=100_000_000) == {}


def test_sorts_that_go_over_the_disk_are_told_with_more_memory(patient: Patient) -> None:
    sort = "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 20000)"
    patient.execute(sort + " n ORDER BY n DESC OFFSET 0) s", FLUSH)
    limits = {"temporary_bytes_per_day": 100_000}
    # What was before the first look is nobody's news.
    assert patient.found(temporary_files, **limits) == {}
    patient.execute(sort + " n ORDER BY n DESC OFFSET 0) s", FLUSH)
    (found,) = patient.found(temporary_files, **limits).values()
    assert (found.key, found.severity) == ("", Severity.WARNING)
    assert "gets 4 MB of memory (work_mem)" in found.detail
    assert found.next_step == f"ALTER DATABASE {patient.name} SET work_mem = '8192kB';"
    patient.execute(found.next_step)
    assert patient.found(temporary_files) == {}


def test_checkpoints_that_the_wal_forces_are_told(patient: Patient) -> None:
    assert patient.found(forced_checkpoints) == {}
    remembered(patient, forced_checkpoints, "timed", 1_000)
    remembered(patient, forced_checkpoints, "forced", 1_001_000)
    (found,) = patient.found(forced_checkpoints).values()
    assert found.severity == Severity.WARNING
    assert found.title == "Most checkpoints come before their time"
    assert found.next_step.endswith("SELECT pg_reload_conf();")
    assert "ALTER SYSTEM SET max_wal_size = '" in found.next_step
    assert patient.found(forced_checkpoints, forced_checkpoints_share=1.0) == {}


def test_a_deadlock_is_told_for_a_day(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.pair AS SELECT 1 AS n", "INSERT INTO public.pair VALUES (2)"
    )
    assert patient.found(deadlocks) == {}
    lock_each_other_out(patient)
    (found,) = patient.found(deadlocks).values()
    assert (found.key, found.severity) == ("", Severity.WARNING)
    assert found.detail.startswith("1 deadlock within the last day;")
    assert found.next_step == "manage.py dblogs --level error"
    assert list(patient.found(deadlocks)) == [""]


def test_totals_that_began_anew_count_from_nothing(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.pair AS SELECT 1 AS n", "INSERT INTO public.pair VALUES (2)"
    )
    patient.found(deadlocks)
    patient.memories["deadlocks"]["totals"]["deadlocks"] = 50
    assert patient.found(deadlocks) == {}
    lock_each_other_out(patient)
    patient.memories["deadlocks"]["totals"]["deadlocks"] = 50
    assert patient.found(deadlocks)[""].detail.startswith("1 deadlock ")


def lock_each_other_out(patient: Patient) -> None:
    with database.connect(patient.name) as first, database.connect(patient.name) as second:
        for connection, row in ((first, 1), (second, 2)):
            connection.execute("SET deadlock_timeout = '10ms'; BEGIN")
            connection.execute("UPDATE public.pair SET n = n WHERE n = %s", [row])
        failed: list[psycopg.Error] = []

        def cross(connection: psycopg.Connection[Any], row: int) -> None:
            try:
                connection.execute("UPDATE public.pair SET n = n WHERE n = %s", [row])
            except psycopg.errors.DeadlockDetected as error:
                failed.append(error)
            connection.execute("ROLLBACK")

        threads = [threading.Thread(target=cross, args=each) for each in ((first, 2), (second, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    # One of them at least: each looks for itself.
    assert failed
    patient.execute(FLUSH)
