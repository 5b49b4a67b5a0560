"""The harness itself: logins as in production, a database per worker, nothing shared."""

import pytest
from django.db import connection, connections, transaction
from django.test.testcases import _DatabaseFailure

from tests.harness import database


@pytest.mark.django_db(databases=["default", "owner"])
def test_the_two_aliases_are_the_two_logins_on_one_database() -> None:
    seen = {}
    for alias in ("default", "owner"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_user, current_database()")
            seen[alias] = cursor.fetchone()
    assert seen["default"][0] == "srvc_app"
    assert seen["owner"][0] == "srvc_owner"
    assert seen["default"][1] == seen["owner"][1]


def test_a_fresh_database_is_migrated_and_commits(fresh_database: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM django_migrations")
        assert cursor.fetchone() == (True,)
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (fresh_database,)


def test_a_test_without_a_database_may_not_reach_one() -> None:
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        connection.ensure_connection()


def test_a_test_that_could_not_end_leaves_the_databases_open(fresh_database: str) -> None:
    shut = connections["owner"]
    vars(shut)["cursor"] = _DatabaseFailure(shut.cursor, "not asked for")
    unfinished = transaction.atomic()
    unfinished.__enter__()
    assert database.take_back() == ["default within a transaction", "owner shut"]
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (fresh_database,)
    assert not connection.in_atomic_block
    assert database.take_back() == []


def test_a_test_that_leads_elsewhere_is_led_back(fresh_database: str) -> None:
    connections["owner"].settings_dict.update(NAME="gone", PORT="1")
    assert database.take_back() == ["owner with another NAME, PORT"]
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (fresh_database,)
