"""What statements cost is read as differences: nothing is reset, and nothing counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from psycopg import sql

from ops.health.context import Context
from ops.health.contract import BlindError
from ops.health.statements import read_statements
from ops.models import Statement, StatementSample
from ops.postgres.endpoint import Connection, Endpoint
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def as_owner(patient: Patient) -> Iterator[None]:
    patient.make_room_for_statements()
    with as_owner_by_default():
        yield


@contextmanager
def owner() -> Iterator[Connection]:
    with Endpoint.of(OWNER).connect() as connection:
        yield connection


def read(now: datetime) -> int:
    with owner() as connection:
        return read_statements(connection, now)


def ask(patient: Patient, times: int) -> None:
    with database.connect(patient.name) as connection:
        for number in range(times):
            connection.execute(sql.SQL("SELECT {} AS told").format(number))


def told() -> list[tuple[int, datetime, datetime]]:
    rows = StatementSample.objects.filter(statement__text="SELECT $1 AS told")
    return list(rows.order_by("pk").values_list("calls", "since", "taken_at"))


def test_a_statement_costs_what_came_since_the_reading_before(patient: Patient) -> None:
    now = timezone.now()
    ask(patient, 3)
    # Nobody can tell since when the first totals have grown.
    assert read(now) == 0
    assert not StatementSample.objects.exists()
    row = Statement.objects.get(text="SELECT $1 AS told")
    assert (row.role, row.counters["calls"], row.counters["rows"]) == ("postgres", 3, 3)
    ask(patient, 4)
    assert read(now + MINUTE) > 0
    assert told() == [(4, now, now + MINUTE)]
    read(now + 2 * MINUTE)
    ask(patient, 2)
    read(now + 3 * MINUTE)
    # It did not run within the second minute, so its totals were not kept again then.
    assert told()[1:] == [(2, now + MINUTE, now + 3 * MINUTE)]
    row.refresh_from_db()
    assert (row.counters["calls"], row.last_seen) == (9, now + 3 * MINUTE)
    # The server's totals are as they would be without us.
    query = "SELECT sum(calls)::int FROM pg_stat_statements WHERE query = 'SELECT $1 AS told'"
    query += " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert patient.execute(query) == [(9,)]


def test_totals_that_began_anew_are_counted_from_nothing(patient: Patient) -> None:
    now = timezone.now() - 10 * MINUTE
    ask(patient, 5)
    read(now)
    patient.execute(
        "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database"
        " WHERE datname = current_database()"
    )
    ask(patient, 2)
    read(now + MINUTE)
    assert told() == [(2, now, now + MINUTE)]
    ask(patient, 1)
    read(now + 2 * MINUTE)
    assert [calls for calls, _, _ in told()] == [2, 1]


def test_a_new_statement_counts_at_once_where_the_server_says_when_it_came(
    patient: Patient,
) -> None:
    now = timezone.now()
    read(now)
    ask(patient, 3)
    read(now + MINUTE)
    with owner() as connection:
        major = connection.info.server_version // 10_000
    # Before 17 its first totals may be of long ago, when others took more time.
    assert told() == ([(3, now, now + MINUTE)] if major >= 17 else [])
    ask(patient, 2)
    read(now + 2 * MINUTE)
    assert told()[-1] == (2, now + MINUTE, now + 2 * MINUTE)


def test_checks_own_queries_and_those_of_other_databases_are_not_told(patient: Patient) -> None:
    context = Context(Endpoint.of(OWNER), timezone.now())
    with context.asking(1.0, {}):
        context.rows("SELECT 1 AS looked")
    context.close()
    with database.connect() as elsewhere:
        elsewhere.execute("SELECT 1 AS elsewhere")
    read(timezone.now())
    texts = list(Statement.objects.values_list("text", flat=True))
    assert texts
    assert not [text for text in texts if "looked" in text or "elsewhere" in text]


def test_of_two_readings_at_once_one_does_nothing(patient: Patient) -> None:
    now = timezone.now()
    read(now)
    ask(patient, 1)
    with database.connect(patient.name) as other:
        other.execute("SELECT pg_advisory_lock(7221005)")
        assert read(now + MINUTE) == 0
        assert Statement.objects.filter(last_seen__gt=now).count() == 0
    assert read(now + 2 * MINUTE) > 0
    # A reading that is older than what was read changes nothing.
    assert read(now + MINUTE) == 0


def test_without_the_extension_it_says_how_to_get_it(patient: Patient) -> None:
    patient.execute("DROP EXTENSION pg_stat_statements")
    with pytest.raises(BlindError) as raised:
        read(timezone.now())
    assert "is not in this database" in str(raised.value)
    assert raised.value.blindness.allow.endswith("CREATE EXTENSION pg_stat_statements;")


def test_the_extension_may_be_in_another_schema(patient: Patient) -> None:
    patient.execute(
        "CREATE SCHEMA extensions", "GRANT USAGE ON SCHEMA extensions TO srvc_owner",
        "ALTER EXTENSION pg_stat_statements SET SCHEMA extensions",
    )  # fmt: skip
    ask(patient, 2)
    read(timezone.now())
    assert Statement.objects.filter(text="SELECT $1 AS told").exists()
