"""Checks of the connection: logins, latency, TLS, versions, clocks, and connections left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import connections as django_connections
from django.utils import timezone
from pytest_django import Settings

from ops.health.checks import connection as checks
from ops.health.checks.connection import (
    END_OF_LIFE,
    clock_skew,
    connections,
    idle_in_transaction,
    latency,
    pool,
    reachable,
    tls,
    version,
)
from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import Outcome, run_checks
from ops.models import Severity
from ops.postgres.endpoint import Endpoint
from ops.postgres.server import NEWEST_MAJOR, OLDEST_MAJOR
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient
from tests.ops.health.tunnel import ELSEWHERE, tunnel
from tests.ops.postgres import debian


def run_at(check: Check, now: datetime, endpoint: Endpoint | None = None) -> Outcome:
    context = Context(endpoint or Endpoint.of(OWNER), now)
    with closing(context):
        (outcome,) = run_checks([check], context, {}, Counter())
    return outcome


def only(found: dict[str, Reported]) -> Reported:
    (reported,) = found.values()
    return reported


# --- reachable ---------------------------------------------------------------------------------


def test_logins_that_can_sign_in_are_fine(patient: Patient) -> None:
    assert patient.found(reachable) == {}


def test_a_web_login_that_is_kept_out_is_critical(patient: Patient) -> None:
    patient.execute(f"REVOKE CONNECT ON DATABASE {patient.name} FROM srvc_app")
    found = patient.found(reachable)
    assert list(found) == ["web"]
    assert found["web"].severity == Severity.CRITICAL
    assert found["web"].title == "srvc_app can't sign in"
    assert found["web"].detail.startswith("The site is down until it can. srvc_app cannot sign in")
    assert "permission denied for database" in found["web"].detail
    assert found["web"].next_step == "manage.py dbping"
    patient.execute(f"GRANT CONNECT ON DATABASE {patient.name} TO srvc_app")
    assert patient.found(reachable) == {}


def test_a_server_that_is_away_is_one_critical_finding_and_other_checks_say_they_saw_nothing(
    patient: Patient, settings: Settings, scratch: object
) -> None:
    gone = Endpoint(str(scratch), "5432", "srvc_owner", "srvc", "secret")
    for alias in ("owner", "default"):
        django_connections[alias].settings_dict["HOST"] = str(scratch)
    settings.REPLICATION_URL = f"postgres://srvc_replication:secret@/x?host={scratch}"
    context = Context(gone, timezone.now())
    away, slow = run_checks([reachable, latency], context, {}, Counter())
    assert {each.key: each.severity for each in away.reported} == {
        "owner": Severity.CRITICAL,
        "web": Severity.CRITICAL,
        "replication": Severity.WARNING,
    }
    assert "secret" not in str(away)
    assert [each.key for each in slow.reported] == ["!blind"]
    assert "srvc_owner cannot sign in to srvc on" in slow.reported[0].detail


# --- latency, clocks ---------------------------------------------------------------------------


def test_a_slow_server_is_told_by_its_median(patient: Patient) -> None:
    assert patient.found(latency, latency_milliseconds=60_000) == {}
    reported = only(patient.found(latency, latency_milliseconds=0))
    assert (reported.key, reported.severity) == ("", Severity.WARNING)
    assert reported.next_step == "manage.py dbping --count 20"


@pytest.mark.parametrize(("off", "told"), [(-3600.0, "s ahead of"), (3600.0, "s behind")])
def test_clocks_that_differ_are_told(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, off: float, told: str
) -> None:
    assert patient.found(clock_skew) == {}
    monkeypatch.setattr(checks, "_now", lambda: time.time() + off)
    reported = only(patient.found(clock_skew))
    assert reported.severity == Severity.WARNING
    assert told in reported.detail


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    with tunnel(ELSEWHERE) as port:
        yield port


def move(host: str, port: int) -> None:
    for alias in ("owner", "default"):
        django_connections[alias].settings_dict.update(HOST=host, PORT=str(port))


def test_a_server_elsewhere_that_is_reached_in_clear_is_critical(
    patient: Patient, port: int
) -> None:
    assert patient.found(tls) == {}  # a socket
    move("127.0.0.1", port)
    assert patient.found(tls) == {}
    move(ELSEWHERE, port)
    found = patient.found(tls)
    assert set(found) == {"srvc_owner", "srvc_app"}
    assert {each.severity for each in found.values()} == {Severity.CRITICAL}
    assert found["srvc_app"].title == "srvc_app reaches the server without TLS"
    assert "sslmode=verify-full" in found["srvc_app"].detail


def test_a_server_elsewhere_that_is_reached_by_tls_is_fine(
    patient: Patient, settings: Settings, port: int
) -> None:
    if not debian.BINARIES.is_dir():
        move(ELSEWHERE, port)
        assert len(patient.found(tls)) == 2  # without a server that has TLS: the contrary
        return
    settings.REPLICATION_URL = ""
    with debian.tls_only_server() as server:
        for alias in ("owner", "default"):
            django_connections[alias].settings_dict.update(
                HOST=ELSEWHERE, PORT=server.port, USER="postgres", NAME="postgres",
                PASSWORD="s3cret", OPTIONS={"sslmode": "require"},
            )  # fmt: skip
        assert patient.found(tls) == {}
        django_connections["default"].settings_dict["OPTIONS"] = {"sslmode": "disable"}
        outcome = patient.run(tls)
        assert "could not be tried" in outcome.reported[0].detail


# --- version -----------------------------------------------------------------------------------


def test_a_version_is_told_before_and_after_its_end_of_life(patient: Patient) -> None:
    assert patient.found(version) == {}
    ((number,),) = patient.execute("SHOW server_version_num")
    major = int(number) // 10_000
    end = datetime.combine(END_OF_LIFE[major], datetime.min.time(), UTC)
    (before,) = run_at(version, end.replace(month=end.month - 1)).reported
    assert before.key == "end-of-life"
    assert before.severity == Severity.WARNING
    assert before.title == f"PostgreSQL {major} comes to its end of life"
    assert f"its last release is on {end:%Y-%m-%d}" in before.detail
    (after,) = run_at(version, end.replace(year=end.year + 1)).reported
    assert (after.key, after.severity) == ("end-of-life", Severity.CRITICAL)
    assert after.next_step == "manage.py backup --full"


def test_every_version_that_is_supported_has_an_end_and_others_are_told(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(range(OLDEST_MAJOR, NEWEST_MAJOR + 1)) <= set(END_OF_LIFE)
    monkeypatch.setattr(checks, "NEWEST_MAJOR", 14)
    monkeypatch.setattr(checks, "OLDEST_MAJOR", 13)
    found = patient.found(version)
    assert list(found) == ["unsupported"]
    assert found["unsupported"].severity == Severity.WARNING


# --- connections -------------------------------------------------------------------------------


def test_connections_that_run_out_are_told_with_who_holds_them(patient: Patient) -> None:
    assert patient.found(connections) == {}
    found = patient.found(connections, connections_share=0.0)
    assert found["server"].severity == Severity.WARNING
    assert found["server"].title == "The server's connections run out"
    assert "srvc_owner " in found["server"].detail
    assert patient.execute(found["server"].next_step)
    many = patient.found(connections, connections=1)
    assert list(many) == ["many"]


def test_a_database_whose_own_limit_is_reached_is_told(patient: Patient) -> None:
    patient.execute(f"ALTER DATABASE {patient.name} CONNECTION LIMIT 1")
    found = patient.found(connections)
    assert list(found) == [f"database {patient.name}"]
    reported = only(found)
    assert reported.severity == Severity.CRITICAL
    assert reported.detail == "1 of the 1 that its limit allows are taken."
    patient.execute(reported.next_step.replace("LIMIT 2", "LIMIT 20"))
    assert reported.next_step == f"ALTER DATABASE {patient.name} CONNECTION LIMIT 2;"
    assert patient.found(connections) == {}


# --- held and not used -------------------------------------------------------------------------


def test_a_session_idle_in_a_transaction_is_told_with_its_locks_and_ended(
    patient: Patient,
) -> None:
    patient.execute("CREATE TABLE public.held (id int)")
    with database.connect(patient.name) as idle:
        idle.execute("SET application_name = 'forgetful'")
        idle.execute("BEGIN; INSERT INTO public.held VALUES (1)")
        assert patient.found(idle_in_transaction) == {}
        found = patient.found(idle_in_transaction, idle_in_transaction_seconds=0)
        ((key, reported),) = found.items()
        pid = idle.info.backend_pid
        assert key.startswith(f"{pid} since 20")
        assert reported.severity == Severity.WARNING
        assert reported.subject == f"session {pid}"
        assert f"Process {pid} (forgetful) did nothing for" in reported.detail
        assert "It holds locks on held (RowExclusiveLock)." in reported.detail
        assert list(patient.found(idle_in_transaction, idle_in_transaction=1)) == ["many"]
        assert patient.execute(reported.next_step) == [(True,)]
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    assert patient.found(idle_in_transaction, idle_in_transaction_seconds=0) == {}


def test_a_pool_is_full_when_no_session_is_idle_in_two_looks(
    patient: Patient, settings: Settings
) -> None:
    settings.DATABASE_POOL = 2
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(closing(Endpoint.of("default").connect())) for _ in range(2)
        ]
        assert patient.found(pool) == {}
        for session in sessions:
            session.execute("BEGIN")
        assert patient.found(pool) == {}  # one moment alone says nothing
        reported = only(patient.found(pool))
        assert reported.severity == Severity.WARNING
        assert reported.detail.startswith("All 2 sessions of srvc_app were busy in two looks")
        assert len(patient.execute(reported.next_step)) == 2
        sessions[0].execute("COMMIT")
        assert patient.found(pool) == {}
        settings.DATABASE_POOL = 0
        assert patient.found(pool) == {}


def test_who_may_not_see_other_sessions_says_so(patient: Patient) -> None:
    for check in (connections, idle_in_transaction):
        outcome = run_at(check, timezone.now(), Endpoint.of("default"))
        assert [each.key for each in outcome.reported] == ["!blind"]
        assert outcome.reported[0].next_step.endswith("\nGRANT pg_monitor TO srvc_app;")
