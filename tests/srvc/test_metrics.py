"""/metrics: numbers for Prometheus, for whoever may read them, also while writes are closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ops.models import (
    Backup,
    CheckResult,
    Drill,
    Finding,
    FindingEvent,
    Notice,
    Sample,
)
from ops.rls.closed import LOCK_CLASS, WRITES
from ops.rls.router import as_owner_by_default
from srvc.metrics import MetricsMiddleware
from tests.harness import database

TOKEN = "a token that nobody guesses"
HOUR = timedelta(hours=1)


def scrape(**meta: str) -> HttpResponse:
    return Client(headers={"host": "10.0.0.7:8000"}).get("/metrics", **meta)  # type: ignore[arg-type, return-value]


def values(answer: HttpResponse) -> dict[tuple[str, ...], float]:
    """Read what was told as Prometheus would: name, values of the labels by name, and number."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


@pytest.fixture
def token(settings: Any) -> str:
    settings.METRICS_TOKEN = TOKEN
    return f"Bearer {TOKEN}"


@pytest.fixture
def recorded(fresh_database: str) -> str:
    now = timezone.now()
    with as_owner_by_default():
        seen = {"first_seen": now, "opened_at": now, "last_seen": now}
        base = {"check_name": "tried", "area": "storage", **seen}
        finding = Finding.objects.create(key="a", severity="critical", title="a", **base)
        Finding.objects.create(key="b", severity="warning", title="b", accepted="known", **base)
        Finding.objects.create(
            key="c", severity="critical", title="c",
            snoozed_until=now + HOUR, snooze_reason="later", **base,
        )  # fmt: skip
        Finding.objects.create(key="d", severity="critical", title="d", resolved_at=now, **base)
        event = FindingEvent.objects.create(finding=finding, kind="opened", at=now)
        Notice.objects.create(event=event, channel="email", state="failed", due_at=now)
        CheckResult.objects.create(
            check_name="tried", area="storage", state="blind", ran_at=now - HOUR, seconds=0.5
        )
        backup = {"kind": "full", "environment": "development", "database": "srvc"}
        Backup.objects.create(name="old", taken_at=now - 9 * HOUR, proven_at=now - HOUR, **backup)
        Backup.objects.create(name="new", taken_at=now - 2 * HOUR, **backup)
        Backup.objects.create(name="bad", taken_at=now, state="failed", **backup)
        drill = Drill.objects.create(subject="old", verdict="passed")
        Drill.objects.filter(pk=drill.pk).update(started_at=now - 3 * HOUR)
        for metric, subject, value, age in (
            ("database_bytes", "", 5e6, 2), ("database_bytes", "", 6e6, 1),
            ("connections", "", 7, 31), ("disk_free_bytes", "/srv/data", 8e9, 1),
            ("watch_seconds", "tick", 0.2, 120),
        ):  # fmt: skip
            Sample.objects.create(
                metric=metric, subject=subject, value=value,
                taken_at=now - timedelta(minutes=age),
            )  # fmt: skip
    return fresh_database


def test_there_is_nothing_until_somebody_may_read_it() -> None:
    passed_on = HttpResponse(status=404)
    middleware = MetricsMiddleware(lambda request: passed_on)
    assert middleware(RequestFactory().get("/metrics")) is passed_on


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer töken"],
)
def test_a_wrong_token_is_refused_and_told_nothing(token: str, given: str) -> None:
    # Without the mark django_db a query would fail this test.
    answer = scrape(HTTP_AUTHORIZATION=given)
    assert (answer.status_code, answer.content) == (403, b"")
    assert answer["Cache-Control"] == "no-store"


def test_networks_are_believed_as_far_as_proxies_are(settings: Any, monkeypatch: Any) -> None:
    settings.METRICS_ALLOW = ["10.1.0.0/16", "2001:db8::7"]
    monkeypatch.setattr("srvc.metrics.exposition", lambda now: b"")

    def status(address: str, forwarded: str = "") -> int:
        return scrape(REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR=forwarded).status_code

    assert [status("10.1.2.3"), status("::ffff:10.1.2.3"), status("2001:db8::7")] == [200] * 3
    assert [status("10.2.2.3"), status("2001:db8::8"), status("")] == [403] * 3
    assert status("10.2.2.3", "10.1.2.3") == 403
    settings.TRUSTED_PROXIES = 1
    assert [status("10.1.0.1", "10.1.2.3"), status("10.1.0.1", "10.1.2.3, 8.8.8.8")] == [200, 403]


def test_only_reading_is_allowed(token: str) -> None:
    assert Client().post("/metrics", HTTP_AUTHORIZATION=token).status_code == 405


def test_the_numbers_are_those_that_were_recorded(recorded: str, token: str) -> None:
    answer = scrape(HTTP_AUTHORIZATION=token)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (answer["Cache-Control"], answer.cookies) == ("no-store", {})
    told = values(answer)
    assert told["srvc_build_info", "development", "0.1.0"] == 1
    assert told["srvc_findings", "storage", "critical"] == 1
    assert told["srvc_findings", "storage", "warning"] == 0
    assert told["srvc_findings_silenced", "storage", "critical"] == 1
    assert told["srvc_findings_silenced", "storage", "warning"] == 1
    assert sum(each[0] == "srvc_findings" for each in told) == 3 * 8
    assert told["srvc_check_state", "storage", "tried", "blind"] == 1
    assert told["srvc_check_age_seconds", "storage", "tried"] == pytest.approx(3600, abs=60)
    assert told["srvc_check_duration_seconds", "storage", "tried"] == 0.5
    assert told["srvc_backup_age_seconds", "full"] == pytest.approx(7200, abs=60)
    assert told["srvc_backup_proven_age_seconds", "full"] == pytest.approx(3600, abs=60)
    assert told["srvc_backup_cadence_seconds", "full"] == 86400
    assert told["srvc_drill_age_seconds",] == pytest.approx(10800, abs=60)
    assert told["srvc_notices", "email", "failed"] == 1
    assert told["srvc_database_size_bytes",] == 6e6
    assert told["srvc_disk_free_bytes", "/srv/data"] == 8e9
    assert told["srvc_watcher_age_seconds",] == pytest.approx(7200, abs=60)
    # What was measured long ago says nothing about now.
    assert ("srvc_connections",) not in told


def test_it_takes_few_queries_writes_nothing_and_works_while_writes_are_closed(
    recorded: str, token: str
) -> None:
    with CaptureQueriesContext(connection) as queries:
        open_ = scrape(HTTP_AUTHORIZATION=token)
    asked = [each["sql"] for each in queries if each["sql"].startswith("SELECT")]
    assert len(asked) < 12, asked
    with database.connect(recorded) as restore:
        restore.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, WRITES])
        closed = scrape(HTTP_AUTHORIZATION=token)
    assert (open_.status_code, closed.status_code) == (200, 200)
    assert set(values(open_)) == set(values(closed))


def test_every_metric_has_a_sentence_and_a_name_in_base_units(recorded: str, token: str) -> None:
    text = scrape(HTTP_AUTHORIZATION=token).content.decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith("srvc_")
        assert family.documentation
        assert not family.name.endswith(("_milliseconds", "_minutes", "_megabytes", "_total"))


def test_a_database_that_is_away_is_said_and_nothing_else(
    django_db_blocker: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    with django_db_blocker.unblock():
        connection.close()
        answer = scrape(HTTP_AUTHORIZATION=token)
    assert (answer.status_code, answer.content) == (503, b"The database does not answer.\n")
