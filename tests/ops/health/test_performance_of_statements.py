"""Slow statements of the last day are named, and the index that would help them is concluded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from ops.health.catalogue import Catalogue
from ops.health.checks.slow import index_suggestions, slow_statements
from ops.health.statements import read_statements
from ops.health.suggestions import suggestions
from ops.models import CheckState, Severity, StatementSample
from ops.postgres.endpoint import Endpoint
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

ALL = {"slow_query_milliseconds": 0.0, "slow_query_calls": 10}
BIG = (
    "CREATE TABLE public.big (n int, kind int, account int, told text)",
    "INSERT INTO public.big SELECT n, n % 500, n % 1000, 'x' || n FROM generate_series(1, 20000) n",
    "ALTER TABLE public.big OWNER TO srvc_owner",
    "ANALYZE public.big",
)
QUERY = "SELECT count(*) FROM public.big WHERE kind = {} AND told LIKE 'x%%' AND n > 7"


@pytest.fixture(autouse=True)
def as_owner(patient: Patient) -> Iterator[None]:
    patient.make_room_for_statements()
    with as_owner_by_default():
        yield


def read(minutes_ago: int) -> None:
    with Endpoint.of(OWNER).connect() as connection:
        read_statements(connection, timezone.now() - timedelta(minutes=minutes_ago))


def ask(patient: Patient, query: str, times: int = 12, role: str = "") -> None:
    with database.connect(patient.name) as connection:
        if role:
            connection.execute(f"SET ROLE {role}")
        for number in range(times):
            connection.execute(query.format(number).replace("%%", "%").encode())


def asked(patient: Patient, *queries: str, role: str = "") -> None:
    """Two readings, with the queries asked before each: the second tells what they cost."""
    for minutes_ago in (2, 1):
        for query in queries:
            ask(patient, query, 12, role)
        read(minutes_ago)


def test_a_slow_statement_of_the_last_day_is_told_with_what_it_cost(patient: Patient) -> None:
    patient.execute(*BIG)
    ask(patient, QUERY)
    # Totals of all time are no news.
    read(2)
    assert patient.found(slow_statements, **ALL) == {}
    ask(patient, QUERY)
    read(1)
    found = patient.found(slow_statements, **ALL)
    (told,) = (each for each in found.values() if "public.big" in each.detail)
    assert told.severity == Severity.WARNING
    assert told.key == f"postgres.{told.subject.removeprefix('statement ')}"
    assert told.title.startswith("A statement of postgres takes ")
    assert told.detail.startswith("12 calls within the last day took ")
    version = patient.execute("SELECT current_setting('server_version_num')::int")[0][0]
    if version >= 160_000:
        assert told.next_step == (
            "EXPLAIN (GENERIC_PLAN) SELECT count(*) FROM public.big WHERE kind = $1 AND told LIKE"
            " $2 AND n > $3;"
        )
        assert patient.execute(told.next_step)
    else:
        assert told.next_step == "manage.py inspect --report outliers"
    assert not [each for each in found.values() if "GRANT" in each.detail.upper()]
    # Fast enough, or seldom enough.
    assert patient.found(slow_statements, slow_query_calls=10, slow_query_milliseconds=1e6) == {}
    assert patient.found(slow_statements, slow_query_calls=13, slow_query_milliseconds=0.0) == {}
    StatementSample.objects.update(taken_at=timezone.now() - timedelta(days=2))
    assert patient.found(slow_statements, **ALL) == {}


def test_an_index_is_suggested_for_what_a_slow_statement_looks_for(patient: Patient) -> None:
    patient.execute(*BIG)
    asked(patient, QUERY)
    (found,) = patient.found(index_suggestions, **ALL).values()
    assert (found.key, found.severity) == ("public.big (kind, n)", Severity.WARNING)
    assert found.title == "An index on kind, n of public.big would spare slow statements much"
    assert "It reads about 20,000 rows of public.big to find about " in found.detail
    assert "was not tried" in found.detail
    assert found.next_step == "CREATE INDEX CONCURRENTLY ON public.big (kind, n);"
    patient.execute(found.next_step)
    assert patient.found(index_suggestions, **ALL) == {}


def test_a_small_table_wants_no_index(patient: Patient) -> None:
    patient.execute(*BIG)
    asked(patient, QUERY)
    assert patient.found(index_suggestions, **ALL, missing_index_rows=30_000) == {}


def test_a_statement_is_planned_with_the_policies_of_who_asked(patient: Patient) -> None:
    patient.execute(
        *BIG, "ALTER TABLE public.big ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON public.big TO srvc_member USING"
        " (account = (SELECT current_setting('app.account_id', true)::int))",
        "GRANT SELECT ON public.big TO srvc_member",
    )  # fmt: skip
    asked(patient, "SELECT told FROM public.big WHERE n = {}", role="srvc_member")
    (found,) = patient.found(index_suggestions, **ALL).values()
    assert set(found.key.removeprefix("public.big (").removesuffix(")").split(", ")) == {
        "account",
        "n",
    }


def test_what_can_not_be_planned_is_passed_over_and_leaves_nothing_behind(
    patient: Patient,
) -> None:
    patient.execute(*BIG, "CREATE TABLE public.gone AS SELECT 1 AS n")
    asked(patient, "SELECT n + {} FROM public.gone", QUERY)
    assert StatementSample.objects.filter(statement__text__contains="public.gone").exists()
    patient.execute("DROP TABLE public.gone")
    assert list(patient.found(index_suggestions, **ALL)) == ["public.big (kind, n)"]


def test_columns_are_those_that_an_index_could_find_by(patient: Patient) -> None:
    patient.execute(*BIG)
    wanted: dict[str, list[tuple[str, ...]]] = {
        "kind = 3": [("kind",)],
        "told = 'x3' AND kind = 4": [("told", "kind")],
        "n < 5": [("n",)],
        "kind IS NULL": [("kind",)],
        "kind = ANY (ARRAY[1, 2])": [("kind",)],
        "told = ') AND (' AND kind = 1": [("told", "kind")],
        "lower(told) = 'x AND y'": [],
        "kind = 3 OR n = 4": [],
        "n + 1 = 3": [],
        "n > 5": [],  # nearly all of it
        "told LIKE '100%'": [],
    }
    with Endpoint.of(OWNER).connect() as connection, connection.transaction():
        catalogue = Catalogue.read(connection)
        for condition, columns in wanted.items():
            query = f"SELECT * FROM public.big b WHERE {condition}"
            found = suggestions(connection, query, catalogue, 1000)
            assert [each.columns for each in found] == columns, condition


def test_with_hypopg_a_suggestion_was_tried(patient: Patient) -> None:
    patient.execute(*BIG)
    has = patient.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'hypopg'")
    if has:
        patient.execute("CREATE EXTENSION hypopg")
    with Endpoint.of(OWNER).connect() as connection, connection.transaction():
        (found,) = suggestions(
            connection,
            "SELECT * FROM public.big WHERE kind = $1",
            Catalogue.read(connection),
            1000,
        )
    if has:
        assert found.cost_with is not None
        assert found.cost_with < found.cost / 2
        assert "the planner's cost falls from" in found.reason
    else:
        assert found.cost_with is None
        assert "was not tried" in found.reason


def test_without_statistics_of_statements_both_are_blind(patient: Patient) -> None:
    patient.execute("DROP EXTENSION pg_stat_statements")
    for check in (slow_statements, index_suggestions):
        outcome = patient.run(check)
        assert outcome.state == CheckState.BLIND
        assert outcome.reported[0].next_step.endswith("CREATE EXTENSION pg_stat_statements;")
