"""A run's page: live while it goes on, honest when nobody carries it out, and a record after."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ops.models import Run
from ops.models.runs import SILENCE
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, ask
from tests.ops.admin.rows import Browser, browser_of, platform_administrator, work
from tests.ops.admin.test_pages import words

pytestmark = pytest.mark.usefixtures("fresh_database")
ADA = Asker("ada@platform.example", "admin", 1)


@pytest.fixture
def browser() -> Browser:
    return browser_of(platform_administrator())


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def a_run(kind: str = "backup", subject: str = "Full backup", **values: Any) -> Run:
    with as_owner_by_default():
        run = ask(kind, subject, by=ADA, arguments={"kind": "full"})
        Run.objects.filter(pk=run.pk).update(**values)
    return run


def running(now: datetime, **values: Any) -> Run:
    began = now - timedelta(seconds=42)
    return a_run(**{"status": "running", "started_at": began, "seen_at": now, **values})


def page(browser: Browser, run: Run) -> str:
    return words(browser.get(reverse("admin:ops_run_change", args=[run.pk])))


def status(browser: Browser, run: Run) -> Any:
    return browser.get(reverse("admin:ops_run_status", args=[run.pk]))


def test_progress_is_told_and_kept_by_nobody(browser: Browser, now: datetime) -> None:
    run = running(now, phase="dumping", done=5, total=20, unit="bytes", host="db1", process=7)
    answer = status(browser, run)
    assert answer["Cache-Control"].startswith("no-store")
    state = answer.json()
    elapsed = state.pop("elapsed")
    assert 42 <= elapsed < 120
    assert state == {
        "status": "running",
        "label": "Running",
        "at_work": True,
        "phase": "Dumping",
        "hint": "You can close this page: the work goes on, and its outcome will be here.",
        "done": 5,
        "total": 20,
        "unit": "bytes",
        "stopping": False,
        "message": "",
    }
    text = page(browser, run)
    assert "Full backup" in text
    assert "ada@platform.example, through admin" in text
    assert "db1, process 7" in text


def test_what_waits_tells_what_to_do_after_a_while(browser: Browser, now: datetime) -> None:
    run = a_run()
    state = status(browser, run).json()
    assert (state["phase"], state["at_work"]) == ("Waiting for the worker", True)
    assert state["hint"] == "It begins as soon as the worker is free."
    with as_owner_by_default():
        Run.objects.filter(pk=run.pk).update(asked_at=now - timedelta(seconds=16))
    assert status(browser, run).json()["hint"] == (
        "Nobody has taken it up: the worker for operations is not running. Start it with "
        "`make run`, or on the server with `manage.py worker --queue-name operations`. What "
        "waits is not lost."
    )
    # Commands carry out theirs by themselves, in nobody's way.
    running(now, via="command")
    assert status(browser, run).json()["hint"].startswith("Nobody has taken it up")
    running(now)
    assert status(browser, run).json()["hint"].startswith("The worker is busy: Full backup")


def test_a_run_whose_process_died_is_shown_as_dead_before_anybody_ends_it(
    browser: Browser, now: datetime
) -> None:
    run = running(now, seen_at=now - SILENCE - timedelta(seconds=1), phase="dumping")
    state = status(browser, run).json()
    assert (state["label"], state["at_work"]) == ("Died", False)
    text = page(browser, run)
    assert "Died Nobody carries it out any more" in text
    assert "Nothing that looks like a backup was left" in text
    restore = running(now, kind="restore", seen_at=now - SILENCE - timedelta(seconds=1))
    assert "The live database is whole: rows come back all or not at all" in page(browser, restore)
    assert "Died" in words(browser.get("/admin/ops/run/"))
    # It is not among what goes on, and stands in nobody's way.
    assert browser.get("/admin/ops/backup/").context["live"] == []
    assert browser.get(reverse("admin:ops_run_cancel", args=[run.pk])).status_code == 302


def test_the_worker_ends_what_died_with_the_next_thing_it_does(
    browser: Browser, now: datetime
) -> None:
    run = running(now, seen_at=now - SILENCE - timedelta(seconds=1))
    browser.post(reverse("admin:ops_backup_take"), {"kind": "schema", "label": ""})
    other = Run.objects.using("owner").newest_first()[0]
    browser.post(reverse("admin:ops_run_cancel", args=[other.pk]))
    work()
    with as_owner_by_default():
        run.refresh_from_db()
    assert run.status == "failed"
    assert run.message.startswith("Its process died without a word")


def test_the_outcome_and_the_way_on_are_shown(browser: Browser, now: datetime) -> None:
    ended = {"started_at": now - timedelta(seconds=9), "finished_at": now}
    failed = a_run(status="failed", message="The storage dbbackup is full.", **ended)
    assert "Failed The storage dbbackup is full." in page(browser, failed)
    done = a_run(status="done", message="srvc-x is taken.", **ended)
    text = page(browser, done)
    assert "Done srvc-x is taken." in text
    assert "9.0 s" in text
    assert (
        "data-run"
        not in browser.get(reverse("admin:ops_run_change", args=[done.pk])).content.decode()
    )
    assert status(browser, done).json()["at_work"] is False


def test_the_record_is_filtered_by_kind_status_and_person(browser: Browser, now: datetime) -> None:
    a_run(status="done")
    a_run("verify", "srvc-x", status="failed")

    def found(query: str) -> int:
        return int(browser.get(f"/admin/ops/run/?{query}").context["cl"].result_count)

    assert found("") == 2
    assert found("kind__exact=verify") == 1
    assert found("status=done") == 1
    assert found("q=ada") == 2
    assert found("q=srvc-x") == 1


def test_what_died_is_not_among_what_runs(browser: Browser, now: datetime) -> None:
    running(now)
    running(now, seen_at=now - SILENCE - timedelta(seconds=1))
    a_run()

    def found(status: str) -> list[str]:
        answer = browser.get(f"/admin/ops/run/?status={status}")
        return [run.status for run in answer.context["cl"].result_list]

    assert found("running") == ["running"]
    silence = "Nobody carries it out any more"
    assert silence not in words(browser.get("/admin/ops/run/?status=running"))
    assert silence in words(browser.get("/admin/ops/run/?status=died"))
    assert found("died") == ["running"]
    assert found("queued") == ["queued"]
    assert found("nonsense") == []


def test_runs_are_never_changed_or_deleted_by_a_form(browser: Browser) -> None:
    run = a_run()
    url = reverse("admin:ops_run_change", args=[run.pk])
    browser.post(url, {"status": "done"})
    assert browser.post(reverse("admin:ops_run_delete", args=[run.pk]), {"post": "yes"}).status_code
    assert browser.get(reverse("admin:ops_run_add")).status_code == 403
    with as_owner_by_default():
        run.refresh_from_db()
    assert run.status == "queued"
