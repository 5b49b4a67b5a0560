"""A statement that runs too long and a session that others wait for are found and named."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from django.utils import timezone

from ops.health.blocking import blocking_trees
from ops.health.checks.sessions import blocked, long_running
from ops.health.context import Context
from ops.health.contract import Check
from ops.health.ending import Target
from ops.health.running import run_checks
from ops.health.steps import needs_superuser
from ops.models import CheckState, Severity
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient
from tests.ops.health.stepping import take


@contextmanager
def busy(patient: Patient, statement: str, name: str) -> Iterator[int]:
    """A session in which a statement runs until the block ends; gives its number."""
    connection = database.connect(patient.name)
    connection.execute(f"SET application_name = '{name}'")
    pid = connection.info.backend_pid
    ended: list[BaseException] = []

    def run() -> None:
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        _until(patient, f"pid = {pid} AND state = 'active' AND query LIKE '{statement[:12]}%'")
        yield pid
    finally:
        patient.execute(f"SELECT pg_terminate_backend({pid})")
        thread.join(10)
        connection.close()


def _until(patient: Patient, condition: str) -> None:
    for _ in range(500):
        if patient.execute(f"SELECT 1 FROM pg_stat_activity WHERE {condition}"):
            return
        time.sleep(0.01)
    pytest.fail(f"never seen: {condition}")


def test_a_statement_that_runs_for_too_long_is_named_with_how_to_cancel_it(
    patient: Patient,
) -> None:
    assert patient.found(long_running) == {}
    with (
        busy(patient, "SELECT pg_sleep(50)", "report") as pid,
        busy(patient, "SELECT pg_sleep(51)", "srvc backup"),
    ):
        assert patient.found(long_running) == {}
        (found,) = patient.found(long_running, long_running_seconds=0.0).values()
        assert found.severity == Severity.WARNING
        assert found.title.startswith("A statement of postgres has been running for ")
        assert found.detail == f"In session {pid} by report: SELECT pg_sleep(50)"
        # It is a superuser's, which the owner may not cancel.
        assert needs_superuser(found.next_step)
        take(patient, found.next_step)
        _until(patient, f"pid = {pid} AND state = 'idle'")
        assert patient.found(long_running, long_running_seconds=0.0) == {}


def test_who_holds_a_lock_is_found_with_all_who_wait_behind(patient: Patient) -> None:
    patient.execute("CREATE TABLE public.held (n int)")
    with closing(database.connect(patient.name)) as holder:
        holder.execute("SET application_name = 'psql'")
        holder.execute("BEGIN; LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE")
        pid = holder.info.backend_pid
        with (
            busy(patient, "TRUNCATE public.held", "second") as second,
            busy(patient, "SELECT n FROM public.held", "third") as third,
        ):
            _until(patient, f"pid = {third} AND wait_event_type = 'Lock'")
            assert patient.found(blocked) == {}
            found = patient.found(blocked, blocked_seconds=0.0)
            assert list(found) == [f"session {pid}"]
            told = found[f"session {pid}"]
            assert told.severity == Severity.WARNING
            assert told.title.startswith(
                f"2 sessions wait for session {pid} (postgres, psql), for 0 s"
            )
            lines = told.detail.splitlines()
            assert lines[0].startswith(
                f"session {pid} (postgres, psql): idle in transaction, in a transaction for "
            )
            assert lines[0].endswith("; holds ACCESS EXCLUSIVE on public.held")
            assert lines[2].startswith(f"  session {second} (postgres, second): active")
            assert " for ACCESS EXCLUSIVE on public.held" in lines[2]
            # Behind the one who holds it, once, though it stands behind the second one too.
            (last,) = (line for line in lines if line.strip().startswith(f"session {third} "))
            assert last.startswith(f"  session {third} (postgres, third): active")
            assert lines[-1] == (
                "It is doing nothing, so there is no statement to cancel: end the session."
            )
            worse = patient.found(blocked, blocked_seconds=0.0, long_running_seconds=0.0)
            assert worse[f"session {pid}"].severity == Severity.CRITICAL
        take(patient, told.next_step)
        assert patient.found(blocked, blocked_seconds=0.0) == {}


def test_whoever_got_the_number_of_a_session_that_ended_is_left_alone(patient: Patient) -> None:
    with busy(patient, "SELECT pg_sleep(50)", "report") as pid:
        (found,) = patient.found(long_running, long_running_seconds=0.0).values()
        (((now, statement),)) = patient.execute(
            f"SELECT backend_start::text, query_start::text FROM pg_stat_activity WHERE pid = {pid}"
        )
        earlier = "2020-01-01 00:00:00+00"
        for ending in (
            Target(pid, earlier).terminating,
            Target(pid, now, transaction_start=earlier).terminating,
            Target(pid, now, statement_start=earlier).cancelling,
        ):
            assert patient.execute(ending) == []
        assert patient.execute(Target(pid, now, statement_start=statement).cancelling) == [(True,)]
        _until(patient, f"pid = {pid} AND state = 'idle'")
        # The session goes on with something else: the step is of the statement before.
        take(patient, found.next_step)
        assert patient.execute(f"SELECT state FROM pg_stat_activity WHERE pid = {pid}") == [
            ("idle",)
        ]


def test_an_owner_s_own_statement_is_cancelled_by_the_owner(patient: Patient) -> None:
    with closing(Endpoint.of(OWNER).connect(application_name="mine")) as mine:
        mine.pgconn.send_query(b"SELECT pg_sleep(50)")
        mine.pgconn.flush()
        pid = mine.pgconn.backend_pid
        _until(patient, f"pid = {pid} AND state = 'active'")
        (found,) = patient.found(long_running, long_running_seconds=0.0).values()
        assert not needs_superuser(found.next_step)
        take(patient, found.next_step)
        _until(patient, f"pid = {pid} AND state = 'idle'")


def test_who_wants_a_row_that_another_changed_is_told_the_table(patient: Patient) -> None:
    patient.execute("CREATE TABLE public.held (n int)", "INSERT INTO public.held VALUES (1)")
    with database.connect(patient.name) as holder:
        holder.execute("BEGIN; UPDATE public.held SET n = 2")
        with busy(patient, "UPDATE public.held SET n = 3", "") as waiter:
            _until(patient, f"pid = {waiter} AND wait_event_type = 'Lock'")
            with database.connect(patient.name) as onlooker:
                (tree,) = blocking_trees(onlooker)
            assert tree.session.pid == holder.info.backend_pid
    assert tree.holds == ("rows that it changed", "ROW EXCLUSIVE on public.held")
    (behind,) = tree.waiters
    assert (behind.session.pid, behind.waits_for) == (waiter, "a row of public.held")


@pytest.mark.parametrize("check", [blocked, long_running])
def test_without_the_right_to_see_others_it_says_how_to_get_it(
    patient: Patient, check: Check
) -> None:
    context = Context(Endpoint.of("default"), timezone.now())
    try:
        (outcome,) = run_checks([check], context, {}, Counter())
    finally:
        context.close()
    assert outcome.state == CheckState.BLIND
    assert outcome.reported[0].next_step.endswith("\nGRANT pg_monitor TO srvc_app;")
    assert "can't be seen by srvc_app." in outcome.reported[0].detail
