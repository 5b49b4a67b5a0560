"""Live sessions: seen and ended by the platform's role alone, and only what is meant is hit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ops.health.activity import (
    Activity,
    Session,
    activity,
    end_session,
    outlined,
    shortened,
    without_constants,
)
from ops.health.errors import HealthError
from ops.models import Run
from ops.postgres.endpoint import Endpoint
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from ops.runs import OWNER, Asker
from tests.factories import make_business
from tests.harness import database

ADA = Asker("ada@platform.example", "admin", 1)


def sessions() -> dict[str, Session]:
    """Sessions of the tests, by their names."""
    with acting_as_admin():
        return {each.application: each for each in activity().sessions}


@contextmanager
def session(name: str) -> Iterator[psycopg.Connection]:
    opened = Endpoint.of(OWNER).connect(application_name=name)
    try:
        yield opened
    finally:
        opened.close()


def wait_until_blocked(name: str) -> Session:
    for _ in range(200):
        found = sessions().get(name)
        if found is not None and found.blocked_by:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{name} was never blocked")


@contextmanager
def one_blocks_another() -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """A session that holds a table, and one that waits for it."""
    with session("holder") as holder, session("waiter") as waiter:
        holder.autocommit = waiter.autocommit = False
        holder.execute("LOCK TABLE public.jobs IN ACCESS EXCLUSIVE MODE")
        waiter.pgconn.send_query(b"BEGIN; SELECT title FROM public.jobs WHERE title = 'Ada''s'")
        yield holder, waiter


def test_who_blocks_whom_is_told(fresh_database: str) -> None:
    with one_blocks_another() as (holder, waiter):
        blocked = wait_until_blocked("waiter")
        assert blocked.pid == waiter.info.backend_pid
        assert blocked.blocked_by == (holder.info.backend_pid,)
        assert blocked.waits_for == "AccessShareLock on public.jobs"
        assert blocked.state == "active"
        assert blocked.summary == "BEGIN; SELECT title FROM public.jobs WHERE title = …"
        with acting_as_admin():
            found = activity()
        assert [
            (each.session.application, each.depth, each.holds_up) for each in found.blocking
        ] == [("holder", 0, 1), ("waiter", 1, 0)]
        assert found.blocking[0].session.state == "idle in transaction"
        assert found.missing == []


def test_a_query_is_cancelled_and_a_session_ended(fresh_database: str) -> None:
    with one_blocks_another() as (holder, waiter):
        blocked = wait_until_blocked("waiter")
        now = blocked.since + timedelta(seconds=3)
        with acting_as_admin():
            run = end_session(blocked, ending=False, by=ADA, now=now)
        waiter.wait(psycopg.generators.fetch(waiter.pgconn))
        with acting_as_admin():
            run.refresh_from_db()
            assert (run.kind, run.status, run.asked_by) == ("signal", "done", ADA.name)
            assert run.subject == f"{blocked.pid} of srvc_owner"
            assert run.message == (
                "Its query was cancelled after 3 s as active: "
                "BEGIN; SELECT title FROM public.jobs WHERE title = …"
            )
            end_session(sessions()["holder"], ending=True, by=ADA, now=timezone.now())
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT")
        assert "holder" not in sessions()
        assert blocked.pid in {each.pid for each in sessions().values()}
        with acting_as_admin():
            assert Run.objects.filter(kind="signal").count() == 2


def test_a_reused_process_id_a_superuser_and_another_database_are_left_alone(
    fresh_database: str,
) -> None:
    with session("idle") as idle, acting_as_admin():
        found = sessions()["idle"]
        earlier = Session(
            **{**found.__dict__, "backend_start": found.backend_start - timedelta(seconds=1)}
        )
        with pytest.raises(HealthError, match=r"is over already\. Nothing was done\."):
            end_session(earlier, ending=True, by=ADA, now=timezone.now())
        assert idle.execute("SELECT 1").fetchone() == (1,)
        assert not Run.objects.filter(kind="signal").exists()
    with database.connect(fresh_database) as superuser, acting_as_admin():
        superuser.execute("SET application_name = 'root'")
        found = sessions()["root"]
        assert found.is_superuser
        with pytest.raises(HealthError, match="only a superuser may end it"):
            end_session(found, ending=True, by=ADA, now=timezone.now())
        assert signal(found.pid, found.backend_start) is False
    with database.connect("postgres") as elsewhere, acting_as_admin():
        elsewhere.execute("SET ROLE srvc_owner; SET application_name = 'elsewhere'")
        assert "elsewhere" not in sessions()
        row = elsewhere.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        assert row is not None
        assert signal(*row) is False


def signal(pid: int, started: datetime) -> object:
    with connection.cursor() as cursor:
        cursor.execute("SELECT public.ops_signal_session(%s, %s, true)", [pid, started])
        return cursor.fetchone()[0]


def test_no_other_role_may_call_them_and_what_reads_only_ends_nothing(fresh_database: str) -> None:
    owner = make_business("Pipes")
    calls = ("ops_activity()", "ops_signal_session(1, now(), true)")
    for call in calls:
        for context in (acting_as(owner), acting_as(None), acting_as_login()):
            with pytest.raises(DatabaseError, match="permission denied for function"), context:
                connection.cursor().execute(f"SELECT public.{call}")
    with session("idle") as idle:
        found = sessions()["idle"]
        with acting_as_admin():
            connection.cursor().execute("SET TRANSACTION READ ONLY")
            with (
                pytest.raises(DatabaseError, match="not ended in a transaction that only reads"),
                transaction.atomic(),
            ):
                signal(found.pid, found.backend_start)
        assert idle.execute("SELECT 1").fetchone() == (1,)


def test_without_the_server_s_leave_it_says_which(fresh_database: str) -> None:
    found = Activity((), sees_all=False, may_signal=False)
    assert found.missing == [
        "GRANT pg_monitor TO srvc_owner;",
        "GRANT pg_signal_backend TO srvc_owner;",
    ]


def test_a_circle_and_a_stranger_are_shown_once() -> None:
    now = timezone.now()

    def at(pid: int, *blocked_by: int) -> Session:
        return Session(
            pid, now, "r", "", "", "active", now, now, now, "Lock", "", "", blocked_by, "", False
        )

    circle = Activity((at(1, 2), at(2, 1), at(3, 0)), True, True)
    assert [(each.session.pid, each.depth) for each in circle.blocking] == [(3, 0), (1, 0), (2, 1)]
    queue = Activity((at(1), at(2, 1), at(3, 1, 2)), True, True)
    assert [(each.session.pid, each.depth, each.holds_up) for each in queue.blocking] == [
        (1, 0, 2),
        (2, 1, 0),
        (3, 1, 0),
    ]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 'O''Brien', 42, 4.2", "SELECT …, …, …"),
        ("SELECT E'a\\'b' || x1 || $1", "SELECT … || x1 || $1"),
        ("DO $$ secret $$; SELECT $q$a$q$", "DO …; SELECT …"),
        ("SELECT 'cut off in the mid", "SELECT …"),
        ('SELECT "42" FROM t2', 'SELECT "42" FROM t2'),
    ],
)
def test_what_people_entered_is_not_shown(query: str, shown: str) -> None:
    assert without_constants(query) == shown


def test_a_long_statement_is_cut() -> None:
    assert shortened("SELECT\n  1") == "SELECT 1"
    columns = ", ".join(f'"jobs"."column_{number}"' for number in range(9))
    query = f'SELECT {columns} FROM "jobs" WHERE "jobs"."title" = \'Ada\' LIMIT 5'
    assert outlined(query) == 'SELECT … FROM "jobs" WHERE "jobs"."title" = … LIMIT …'
    assert outlined("SELECT id FROM jobs") == "SELECT id FROM jobs"
    assert shortened("x" * 300) == "x" * 199 + "…"
