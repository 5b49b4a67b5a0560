"""Ops → Health → Statements: what the time goes to, and the server's way of doing it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from ops.health.generic_plan import generic_plan
from ops.models import Run, Statement, StatementSample
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_admin
from tests.ops.admin.health_rows import make_samples
from tests.ops.admin.rows import browser_of, platform_administrator
from tests.ops.admin.test_health_pages import words

pytestmark = pytest.mark.usefixtures("fresh_database")
LIST = "/admin/ops/statement/"


def has_generic_plans() -> bool:
    with acting_as_admin():
        connection.ensure_connection()
        return bool(connection.connection.info.server_version >= 160_000)


def test_statements_are_listed_by_what_they_took() -> None:
    browser = browser_of(platform_administrator())
    assert "Nothing is known yet" in words(browser.get(LIST))
    now = timezone.now()
    make_samples(now, days=3)
    text = words(browser.get(LIST))
    assert "SELECT id, title FROM jobs WHERE title = $1 AND status <> …" in text
    assert "12.5 ms 480" in text  # a day's calls
    assert "6.0 s 10.0% srvc_app" in text
    assert "12.5 ms 1,440" in words(browser.get(LIST, {"span": "week"}))
    with as_owner_by_default():
        Statement.objects.update(last_seen=now - timedelta(days=2))
        StatementSample.objects.update(taken_at=F("taken_at") - timedelta(days=4))
    assert "12.5 ms" not in words(browser.get(LIST))
    assert "12.5 ms 1,440" in words(browser.get(LIST, {"span": "week"}))


def test_a_statement_tells_what_it_costs_and_its_plan() -> None:
    statement = make_samples(timezone.now())
    browser = browser_of(platform_administrator())
    answer = browser.get(reverse("admin:ops_statement_change", args=[statement.pk]))
    text = words(answer)
    assert "Calls in a week 960" in text
    assert "A call takes 12.5 ms" in text
    assert "Rows a call 2.0" in text
    assert [chart.title for chart in answer.context["charts"]] == ["A call takes", "Calls"]
    if has_generic_plans():
        assert "on jobs" in "".join(answer.context["plan"].lines)
        assert "$1" in text[text.index("The plan") :]
    else:
        assert "Plans without values need PostgreSQL 16 or later." in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ALTER ROLE srvc_app PASSWORD 'x'", "It is a command of the server's"),
        ("SELECT 1; DROP TABLE jobs", "It has a semicolon in it"),
        ("COMMIT", "It is a command of the server's"),
        ("/* SELECT */ COMMIT", "It is a command of the server's"),
        ("SELECT " + "1," * 10_000, "too long to have been kept whole"),
    ],
)
def test_what_is_no_single_query_is_not_handed_to_the_server(text: str, why: str) -> None:
    with acting_as_admin():
        plan = generic_plan(text)
    assert plan.lines == ()
    assert why in plan.why_not


def test_asking_for_a_plan_executes_nothing_and_leaves_nothing() -> None:
    if not has_generic_plans():
        with acting_as_admin():
            assert generic_plan("SELECT 1").why_not.startswith("Plans without values need")
        return
    with acting_as_admin():
        plan = generic_plan("INSERT INTO ops_run (kind) VALUES ($1)")
        assert plan.lines[0].startswith("Insert on ops_run")
        assert (
            "only the owner may read" in generic_plan("SELECT before FROM ops_recoveryrow").why_not
        )
        assert "could not plan it" in generic_plan("SELECT nonsense FROM jobs").why_not
        assert "%" not in generic_plan("SELECT title FROM jobs WHERE title LIKE '5%'").why_not
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("30s",)
        # The transaction writes as before.
        Run.objects.update(cancel_asked_by="ada")
        assert Run.objects.count() == 0
