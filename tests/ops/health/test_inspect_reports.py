"""`manage.py inspect --report`: what sessions hold, what statements cost, who may what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connections

from ops.health.inspection.reports import REPORTS
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient


@contextmanager
def blocked(patient: Patient) -> Iterator[tuple[int, int]]:
    """Two sessions, the second of which waits for the first: their numbers."""
    with database.connect(patient.name) as holder, database.connect(patient.name) as waiter:
        holder.autocommit = False
        holder.execute("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE")
        pids = holder.info.backend_pid, waiter.info.backend_pid

        def wait() -> None:
            with pytest.raises(psycopg.errors.QueryCanceled):
                waiter.execute("DELETE FROM jobs")

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            while not patient.execute(
                f"SELECT 1 FROM pg_locks WHERE pid = {pids[1]} AND NOT granted"
            ):
                pass
            yield pids
        finally:
            waiter.cancel()
            thread.join()


def test_who_waits_for_whom_is_shown(patient: Patient, manage: Manage) -> None:
    with blocked(patient) as (holder, waiter):
        locks = manage("inspect", "--report", "locks", "--json").json
        tree = manage("inspect", "--report", "blocking", "--json").json
        told = manage("inspect", "--report", "blocking").out
    first = locks["rows"][0]
    assert (first["granted"], first["mode"], first["object"], first["pid"]) == (
        False, "RowExclusiveLock", "public.jobs", waiter,
    )  # fmt: skip
    assert first["query"] == "DELETE FROM jobs"
    held = [(row["pid"], row["mode"]) for row in locks["rows"] if row["granted"]]
    assert (holder, "ShareRowExclusiveLock") in held
    assert [(row["depth"], str(pid) in row["session"]) for row, pid in
            zip(tree["rows"], (holder, waiter), strict=True)] == [(0, True), (1, True)]  # fmt: skip
    assert "public.jobs" in tree["rows"][1]["waits_for"]
    assert "pg_terminate_backend(pid)" in tree["notes"][0]
    assert f"pid = {holder} AND backend_start = " in tree["notes"][0]
    assert "As a superuser" in tree["notes"][0]  # whose session only a superuser may end
    assert "idle in transaction" in told
    ended = manage("inspect", "--report", "blocking")
    assert "Nobody waits for anybody" in ended.out


def test_every_report_is_shown(patient: Patient, manage: Manage) -> None:
    patient.execute(
        "INSERT INTO django_session SELECT n, '', now() FROM generate_series(1, 200) n",
        "DELETE FROM django_session WHERE session_key::int > 50",
        "SELECT count(*) FROM django_session",
        "SELECT pg_stat_force_next_flush()",
        "CREATE INDEX lonely ON jobs (title)",
        "CREATE TABLE hollow (id int) WITH (autovacuum_enabled = false)",
        "INSERT INTO hollow SELECT generate_series(1, 20000)",
        "DELETE FROM hollow WHERE id % 10 > 0",
        "VACUUM ANALYZE hollow",
        "GRANT SELECT ON hollow TO srvc_owner",
    )
    told = {name: manage("inspect", "--report", name, "--json") for name in REPORTS}
    assert {name: ended.status for name, ended in told.items()} == dict.fromkeys(REPORTS, 0)
    indexes = {row["index"]: row for row in told["indexes"].json["rows"]}
    assert indexes["public.lonely"]["scans"] == 0
    assert indexes["public.lonely"]["table"] == "public.jobs"
    assert indexes["public.lonely"]["definition"] == "btree (title)"
    hollow = told["bloat"].json["rows"][0]
    assert (hollow["object"], hollow["kind"]) == ("public.hollow", "table")
    assert 0.8 < hollow["share"] < 0.95
    vacuum = {row["table"]: row for row in told["vacuum"].json["rows"]}
    assert vacuum["public.django_session"]["threshold"] >= 50
    roles = {row["role"]: row for row in told["roles"].json["rows"]}
    assert roles["srvc_app"]["attributes"] == ["login", "noinherit"]
    assert roles["srvc_app"]["member_of"] == ["srvc_admin", "srvc_member", "srvc_public"]
    assert any(each.startswith("statement_timeout=") for each in roles["srvc_app"]["settings"])
    traffic = {row["table"]: row for row in told["traffic"].json["rows"]}
    assert "public.django_session" in traffic
    assert told["replication"].json["title"] == "This server is a primary"
    calls = [row["calls"] for row in told["calls"].json["rows"]]
    assert calls == sorted(calls, reverse=True)
    times = [row["milliseconds"] for row in told["outliers"].json["rows"]]
    assert times == sorted(times, reverse=True)
    for name in REPORTS:
        assert manage("inspect", "--report", name).status == 0


def test_what_the_login_may_not_see_says_what_allows_it(
    patient: Patient, manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["owner"].close()
    for name, value in connections["default"].settings_dict.items():
        monkeypatch.setitem(connections["owner"].settings_dict, name, value)
    for report in ("outliers", "replication"):
        ended = manage("inspect", "--report", report)
        assert ended.status == 1
        assert "GRANT pg_monitor TO srvc_app;" in ended.err
    ended = manage("inspect", "--report", "locks")
    assert ended.status == 0
    for words in ("srvc_app sees no other", "As a superuser", "GRANT pg_monitor TO srvc_app;"):
        assert words in ended.out


def test_without_statement_statistics_it_says_how_to_have_them(
    patient: Patient, manage: Manage
) -> None:
    patient.execute("DROP EXTENSION pg_stat_statements CASCADE")
    ended = manage("inspect", "--report", "calls")
    assert ended.status == 1
    assert "CREATE EXTENSION pg_stat_statements;" in ended.err
    assert manage("inspect", "--report", "nothing").status == 2
