"""Ops → Health → Activity: who waits for whom, ended by a button, by whoever may."""

from __future__ import annotations

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from ops.health import activity as live
from ops.models import Run
from ops.rls.session import acting_as_admin
from tests.ops.admin.rows import Browser, browser_of, platform_administrator
from tests.ops.admin.test_auditors import auditor
from tests.ops.admin.test_health_pages import words
from tests.ops.health.test_live_sessions import (
    one_blocks_another,
    session,
    sessions,
    wait_until_blocked,
)

pytestmark = pytest.mark.usefixtures("fresh_database")
ACTIVITY = reverse("admin:ops_finding_activity")


def addresses(browser: Browser, pid: int) -> tuple[str, str]:
    """Where a session's query is cancelled, and where the session is ended."""
    context = browser.get(ACTIVITY).context
    rows = [*context["blocking"], *context["busy"], *context["idle"]]
    (row,) = [each for each in rows if each.session.pid == pid]
    return row.cancel, row.end


def test_nobody_waits() -> None:
    with session("quiet"):
        text = words(browser_of(platform_administrator()).get(ACTIVITY))
    assert "Nobody waits: " in text
    assert "srvc_owner, quiet" in text
    assert "Who waits for whom" not in text


def test_a_held_lock_is_seen_and_let_go() -> None:
    browser = browser_of(platform_administrator())
    with one_blocks_another() as (holder, waiter):
        blocked = wait_until_blocked("waiter")
        answer = browser.get(ACTIVITY)
        assert "no-store" in answer["Cache-Control"]
        assert [(row.session.application, row.depth) for row in answer.context["blocking"]] == [
            ("holder", 0),
            ("waiter", 1),
        ]
        text = words(answer)
        assert "1 session waits for another" in text
        assert "holds up 1 other" in text
        assert (
            f"waits for session {holder.info.backend_pid}: AccessShareLock on public.jobs" in text
        )
        assert "WHERE title = 'Ada''s'" in text  # whoever administers sees every business's rows
        cancel, end = addresses(browser, blocked.pid)
        assert addresses(browser, holder.info.backend_pid)[0] == ""  # it runs nothing to cancel
        asked = words(browser.get(cancel))
        assert "Cancel its query?" in asked
        assert "WHERE title = …" in asked
        assert sessions()["waiter"].blocked_by != ()  # asking does nothing
        answer = browser.post(cancel, follow=True)
        assert "Its query was cancelled after" in answer.content.decode()
        waiter.wait(psycopg.generators.fetch(waiter.pgconn))
        browser.post(addresses(browser, holder.info.backend_pid)[1])
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT")
        over = browser.post(end.replace(str(blocked.pid), "999999"), follow=True)
        assert "Session 999999 is over already. Nothing was done." in over.content.decode()
    runs = Run.objects.using("owner").filter(kind="signal").newest_first()
    assert [(run.status, run.asked_by, run.message.split(" after")[0]) for run in runs] == [
        ("done", "root@platform.example", "The session was ended"),
        ("done", "root@platform.example", "Its query was cancelled"),
    ]
    page = words(browser.get(reverse("admin:ops_run_change", args=[runs[0].pk])))
    assert "The session was ended" in page


def test_an_auditor_sees_no_entered_value_and_ends_nothing() -> None:
    person = auditor()
    with acting_as_admin():
        # Given by mistake, the permission opens nothing either.
        person.user_permissions.add(
            *Permission.objects.filter(
                content_type__app_label="ops",
                codename__in=("signal_session", "run_health", "manage_finding"),
            )
        )
    browser, root = browser_of(person), browser_of(platform_administrator())
    with one_blocks_another():
        blocked = wait_until_blocked("waiter")
        answer = browser.get(ACTIVITY)
        text = words(answer)
        assert "WHERE title = …" in text
        assert "Ada" not in text
        assert addresses(browser, blocked.pid) == ("", "")
        for url in addresses(root, blocked.pid):
            assert browser.get(url).status_code == 403
            assert browser.post(url).status_code == 403
        assert sessions()["waiter"].pid == blocked.pid
    assert browser.post(reverse("admin:ops_finding_check_now"), {"area": ""}).status_code == 403
    assert browser.get("/admin/ops/finding/").status_code == 200


def test_what_the_server_does_not_show_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = browser_of(platform_administrator())
    missing = live.Activity((), sees_all=False, may_signal=False)
    monkeypatch.setattr("ops.admin.activity.activity", lambda: missing)
    text = words(browser.get(ACTIVITY))
    assert "GRANT pg_monitor TO srvc_owner;" in text
    assert "GRANT pg_signal_backend TO srvc_owner;" in text
