"""Looking disturbs nobody: no lock but the weakest, no waiting for somebody's own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from ops.health import context as health_context
from ops.health.context import Context
from ops.health.contract import HOURLY, Check, Reported
from ops.health.running import Outcome, run_checks
from ops.health.selection import all_checks
from ops.models import Area, CheckState
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

Locks = list[tuple[Any, ...]]
# Its own transaction's number, which every session holds.
_OWN = ("virtualxid", "ExclusiveLock")
_READING = ("relation", "AccessShareLock")


def watched(check: Check, seen: dict[str, Locks]) -> Check:
    """The same check, with the locks that its session holds when it is done."""

    def look(context: Context) -> Iterable[Reported]:
        try:
            return list(check.look(context))
        finally:
            with database.connect() as connection:
                seen[check.name] = connection.execute(
                    "SELECT DISTINCT locktype, mode FROM pg_locks WHERE pid = %s",
                    [context.connection.info.backend_pid],
                ).fetchall()

    return replace(check, look=look)


def run(checks: Iterable[Check]) -> dict[str, Outcome]:
    context = Context(Endpoint.of(OWNER), timezone.now())
    try:
        outcomes = run_checks(list(checks), context, {}, Counter())
        return {outcome.check.name: outcome for outcome in outcomes}
    finally:
        context.close()


def test_no_check_takes_a_lock_stronger_than_reading_takes(patient: Patient) -> None:
    seen: dict[str, Locks] = {}
    run(watched(check, seen) for check in all_checks())
    assert {name: set(locks) - {_OWN, _READING} for name, locks in seen.items()} == {
        check.name: set() for check in all_checks()
    }


def test_a_check_that_would_lock_rows_is_refused(patient: Patient) -> None:
    def look(context: Context) -> Iterable[Reported]:
        context.rows("SELECT FROM customers FOR KEY SHARE")
        return []

    check = Check("locking", Area.STORAGE, "Locks", "", look, 1.0, HOURLY)
    outcome = patient.run(check)
    assert "read-only transaction" in outcome.reported[0].detail


def test_a_table_that_is_locked_keeps_no_check_from_the_rest(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = health_context._SETTINGS.replace("lock_timeout = '1s'", "lock_timeout = '20ms'")
    monkeypatch.setattr(health_context, "_SETTINGS", impatient)
    with closing(database.connect(patient.name)) as other:
        other.execute("BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        outcomes = run(all_checks())
    for outcome in outcomes.values():
        assert outcome.state != CheckState.FAILED, outcome.reported
        if not outcome.is_complete:
            assert "locked" in outcome.reported[-1].detail, outcome.reported


def test_what_is_known_of_a_locked_table_is_told_without_waiting(patient: Patient) -> None:
    read: list[tuple[Any, ...]] = []

    def look(context: Context) -> Iterable[Reported]:
        tables = {table.title: table for table in context.catalogue.tables.values()}
        titles = {index.title: index for index in context.catalogue.indexes.values()}
        read.append((tables["public.customers"].heap_size, titles["public.customers_search"]))
        read.append((tables["public.jobs"].heap_size, titles["public.jobs_pkey"]))
        return []

    check = Check("reading", Area.STORAGE, "Sizes", "", look, 3.0, HOURLY)
    patient.execute("ANALYZE customers, jobs")
    with closing(database.connect(patient.name)) as other:
        other.execute("BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        outcome = patient.run(check)
    assert outcome.state == CheckState.BLIND
    assert outcome.reported[0].detail.startswith(
        "Another session has locked public.customers, which was not waited for."
    )
    (_, locked), (_, free) = read
    assert (locked.definition, locked.scans) == ("", 0)
    assert free.definition.startswith("CREATE UNIQUE INDEX jobs_pkey")
    assert patient.run(check).state == CheckState.WELL
