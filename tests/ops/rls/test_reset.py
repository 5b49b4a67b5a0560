"""A connection carries nothing from one request to the next, whatever SQL the first one ran."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.signals import request_finished
from django.db import connection, connections
from django.test import Client
from django_tasks.signals import task_finished
from psycopg_pool import ConnectionPool

from ops.rls import reset
from ops.rls.session import acting_as
from srvc import startup
from tests.factories import make_business, make_customer
from tests.harness import database

# What a member could leave behind, and how the next one on the connection would notice.
LEFT = {
    "CREATE TEMP TABLE loot AS SELECT * FROM customers": "SELECT to_regclass('pg_temp.loot')",
    "DECLARE loot CURSOR WITH HOLD FOR SELECT * FROM customers":
        "SELECT name FROM pg_cursors WHERE name = 'loot'",
    "PREPARE loot AS SELECT 1": "SELECT name FROM pg_prepared_statements",
    "LISTEN loot": "SELECT pg_listening_channels()",
    "SELECT pg_advisory_lock(4711)":
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711",
    "SELECT set_config('app.account_id', '1', false)":
        "SELECT nullif(current_setting('app.account_id', true), '')",
    "SET statement_timeout = 0": "SELECT 1 WHERE current_setting('statement_timeout') <> '30s'",
    "SET search_path = pg_temp":
        "SELECT 1 WHERE current_setting('search_path') <> '\"$user\", public'",
    "SET default_transaction_read_only = on":
        "SELECT 1 WHERE current_setting('default_transaction_read_only') = 'on'",
}  # fmt: skip


def hostile() -> None:
    """Do all of it as a member, in a request's transaction."""
    owner = make_business()
    with acting_as(owner):
        make_customer()
    with acting_as(owner), connection.cursor() as cursor:
        for statement in LEFT:
            cursor.execute(statement)


def left() -> list[str]:
    """Return what is still there, and see that the session is one of Django's as before."""
    with connection.cursor() as cursor:
        found = []
        for statement, question in LEFT.items():
            cursor.execute(question)
            row = cursor.fetchone()
            if row is not None and row[0] is not None:
                found.append(statement)
        cursor.execute("SELECT session_user = current_user, current_setting('TimeZone')")
        assert cursor.fetchone() == (True, "UTC")
    return found


@pytest.mark.parametrize("signal", [request_finished, task_finished])
def test_nothing_outlives_a_request_or_a_task(fresh_database: str, signal: Any) -> None:
    hostile()
    session = connection.connection
    assert left() == list(LEFT)  # else this test would prove nothing
    receivers = [each for each in signal.receivers if each[0][0] == "ops.rls.reset"]
    assert len(receivers) == 1
    reset.forget_session()
    assert connection.connection is session
    assert left() == []


def test_a_real_request_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 60)
    hostile()
    session = connection.connection
    Client().get("/healthz")
    assert connection.connection in {session, None}
    assert left() == []


def test_a_session_that_cannot_be_reset_is_closed(fresh_database: str) -> None:
    hostile()
    pid = connection.connection.info.backend_pid
    with database.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    reset.forget_session()
    assert connection.connection is None
    assert left() == []


def test_within_a_transaction_nothing_is_reset(fresh_database: str) -> None:
    with acting_as(make_business()), connection.cursor() as cursor:
        reset.forget_session()
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("srvc_member",)


def test_a_pool_hands_on_a_clean_session(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", options)
    monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", 0)
    startup._use_pool()
    given = options["pool"] | {"min_size": 1, "max_size": 1}
    login = connection.get_connection_params()
    login = {name: login[name] for name in ("host", "port", "user", "password", "dbname")}
    with ConnectionPool[psycopg.Connection[Any]](kwargs=login, **given) as pool:
        with pool.connection() as first:
            pid = first.info.backend_pid
            first.execute("CREATE TEMP TABLE loot (n int)")
            first.execute("DECLARE loot CURSOR WITH HOLD FOR SELECT 1")
        with pool.connection() as second:
            assert second.info.backend_pid == pid
            row = second.execute(
                "SELECT to_regclass('pg_temp.loot'), count(*) FROM pg_cursors WHERE name = 'loot'"
            ).fetchone()
            assert row == (None, 0)
