"""What fails while checks run is told of the check that met it; every other one still runs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from ops.health.context import Context, within
from ops.health.contract import HOURLY, Check, Reported
from ops.health.look import look_at
from ops.health.running import Outcome, run_checks
from ops.health.selection import all_checks
from ops.health.steps import as_superuser
from ops.models import Area, CheckState, Severity
from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

_OF_OTHER_SESSIONS = (
    "connections",
    "idle_in_transaction",
    "pool",
    "blocked",
    "long_running",
    "slow_statements",
    "index_suggestions",
    "disks",
    "wal_kept",
)


def look(checks: Iterable[Check], endpoint: Endpoint | None = None) -> dict[str, Outcome]:
    """What each check came to, in their order."""
    some = list(checks)
    context = Context(endpoint or Endpoint.of(OWNER), timezone.now())
    try:
        found = {each.check.name: each for each in run_checks(some, context, {}, Counter())}
        return {check.name: found[check.name] for check in some}
    finally:
        context.close()


def incomplete(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """What was not seen, by the check that did not see it."""
    return {
        name: outcome.reported[-1].detail
        for name, outcome in outcomes.items()
        if not outcome.is_complete
    }


def next_steps(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """What lets checks see that did not, by their names; none of them has crashed."""
    assert not [each for each in outcomes.values() if each.state == CheckState.FAILED]
    return {name: outcomes[name].reported[-1].next_step for name in incomplete(outcomes)}


def ending_its_own_session(context: Context) -> Iterable[Reported]:
    with database.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [context.connection.info.backend_pid])
    context.rows("SELECT 1")
    return []


def asking(context: Context) -> Iterable[Reported]:
    context.rows("SELECT 1")
    return []


def made(name: str, area: Area = Area.STORAGE) -> Check:
    return Check(name, area, "Something", "", asking, 3.0, HOURLY)


def test_a_session_that_ends_in_the_middle_costs_one_check_alone(patient: Patient) -> None:
    checks = all_checks()
    middle = len(checks) // 2
    ended = Check("ended", Area.STORAGE, "Ended", "", ending_its_own_session, 3.0, HOURLY)
    outcomes = look([*checks[:middle], ended, *checks[middle:]])
    assert len(outcomes) == len(checks) + 1
    assert incomplete(outcomes) == {
        "ended": "The server did not answer it (terminating connection due to administrator"
        " command). What this check reported before stays as it was."
    }


def test_a_server_that_stops_in_the_middle_is_told_at_once_of_all_the_rest(scratch: Path) -> None:
    server = EmbeddedServer(scratch / "postgres", settings=configuration.THROW_AWAY)
    server.start()
    found = server.connection
    endpoint = Endpoint(
        str(found["host"]), str(found["port"]), str(found["user"]), str(found["dbname"]), None
    )

    def stopping(context: Context) -> Iterable[Reported]:
        server.stop("immediate")
        context.rows("SELECT 1")
        return []

    stop = replace(made("stop"), look=stopping)
    try:
        outcomes = look(
            [made("before"), stop, made("after"), made("tried", Area.CONNECTION), made("last")],
            endpoint,
        )
    finally:
        server.destroy()
    told = incomplete(outcomes)
    assert list(told) == ["stop", "after", "tried", "last"]
    assert told["stop"].startswith("The server did not answer it (")
    for name in ("after", "tried", "last"):
        assert told[name].startswith("postgres cannot sign in to postgres on "), told[name]
        assert told[name].endswith("What this check reported before stays as it was.")


@contextmanager
def server_away(folder: Path) -> Iterator[None]:
    """Let both aliases point at a folder in which no server listens."""
    before = {alias: connections[alias].settings_dict["HOST"] for alias in database.ALIASES}
    for alias in database.ALIASES:
        connections[alias].close()
        connections[alias].settings_dict["HOST"] = str(folder)
    try:
        yield
    finally:
        for alias, host in before.items():
            connections[alias].close()
            connections[alias].settings_dict["HOST"] = host


def test_a_look_at_a_server_that_is_away_is_an_outcome_and_says_that_nothing_was_kept(
    patient: Patient, scratch: Path
) -> None:
    checks = [*all_checks(), made("own")]
    with server_away(scratch):
        found = look_at(checks)
    assert "connection to server on socket" in found.not_recorded
    for outcome in found.outcomes:
        if outcome.check.area != Area.CONNECTION:
            assert outcome.state == CheckState.BLIND, outcome
            assert "cannot sign in to" in outcome.reported[0].detail
    assert found.worst is not None
    assert found.worst.rank >= Severity.WARNING.rank
    assert patient.execute("SELECT count(*) FROM ops_finding") == [(0,)]


@contextmanager
def modest_login(patient: Patient) -> Iterator[Endpoint]:
    """A login that may read every table and is told nothing of other sessions."""
    name = f"modest_{patient.name}"
    patient.execute(
        f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD '{database.PASSWORD}'",
        f"GRANT CONNECT ON DATABASE {patient.name} TO {name}",
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    try:
        yield replace(Endpoint.of(OWNER), user=name)
    finally:
        patient.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_login_without_pg_monitor_is_told_how_to_get_it_and_all_the_rest_runs(
    patient: Patient,
) -> None:
    with modest_login(patient) as endpoint:
        blind = next_steps(look(all_checks(), endpoint))
        # Reading indexes for damage is granted to the owner alone.
        assert blind.pop("damaged_indexes")
        grant = as_superuser(f"GRANT pg_monitor TO {endpoint.user};")
        assert blind == dict.fromkeys(_OF_OTHER_SESSIONS, grant)
        patient.execute(grant)
        assert list(next_steps(look(all_checks(), endpoint))) == ["damaged_indexes"]


def test_rows_that_policies_hide_from_the_login_are_not_taken_for_none(patient: Patient) -> None:
    def counting(context: Context) -> Iterable[Reported]:
        context.rows("SELECT count(*) FROM customers")
        return []

    with modest_login(patient) as endpoint:
        patient.execute(f"ALTER ROLE {endpoint.user} NOBYPASSRLS")
        outcomes = look([replace(made("counting"), look=counting)], endpoint)
    allow = as_superuser(f"ALTER ROLE {endpoint.user} BYPASSRLS;")
    assert outcomes["counting"].reported[0].next_step == allow
    assert incomplete(outcomes) == {
        "counting": "The login may not look at it (query would be affected by row-level security"
        ' policy for table "customers"). What this check reported before stays as it was.'
    }


def test_a_database_without_pg_stat_statements_is_told_how_to_get_it(patient: Patient) -> None:
    patient.execute("DROP EXTENSION IF EXISTS pg_stat_statements CASCADE")
    steps = next_steps(look(all_checks()))
    assert list(steps) == ["slow_statements", "index_suggestions"]
    for step in steps.values():
        assert "pg_stat_statements" in step


def test_a_disk_that_hangs_costs_one_check_its_time_and_no_more(patient: Patient) -> None:
    answer = threading.Event()

    def hanging(context: Context) -> Iterable[Reported]:
        within(0.05, answer.wait, "The disk")
        return []

    try:
        outcomes = look([replace(made("hangs"), look=hanging), made("after")])
    finally:
        answer.set()
    assert list(incomplete(outcomes)) == ["hangs"]
    assert outcomes["hangs"].reported[0].detail.startswith("The disk did not answer within 0")


def test_what_fails_in_time_fails_as_it_does_without_a_limit() -> None:
    def failing() -> None:
        raise PermissionError("not yours")

    with pytest.raises(PermissionError, match="not yours"):
        within(5, failing, "The disk")
    assert within(5, lambda: 7, "The disk") == 7
