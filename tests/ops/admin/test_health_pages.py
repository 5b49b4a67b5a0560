"""Ops → Health: what the pages say, what their buttons do, and what they cost."""

from __future__ import annotations

import html
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ops.health.selection import all_checks
from ops.models import CheckState, Finding, Run
from ops.rls.session import acting_as_admin
from tests.ops.admin.health_rows import make_finding, make_results, make_samples
from tests.ops.admin.rows import Browser, browser_of, platform_administrator, work
from tests.ops.admin.test_auditors import auditor
from tests.ops.admin.test_pages import statements
from tests.ops.admin.test_pages import words as escaped

pytestmark = pytest.mark.usefixtures("fresh_database")
HEALTH = "/admin/ops/finding/"
CHECKS = HEALTH + "checks/"


@pytest.fixture
def browser() -> Browser:
    return browser_of(platform_administrator())


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def words(answer: Any) -> str:
    return html.unescape(escaped(answer))


def fresh(row: Finding) -> Finding:
    with acting_as_admin():
        return Finding.objects.get(pk=row.pk)


def press(browser: Browser, row: Finding, button: str, **answers: str) -> str:
    answer = browser.post(reverse(f"admin:ops_finding_{button}", args=[row.pk]), answers)
    return words(browser.get(answer["Location"])) if answer.status_code == 302 else words(answer)


def test_before_anybody_looked_it_is_not_green(browser: Browser) -> None:
    answer = browser.get(HEALTH)
    text = words(answer)
    assert "Nothing has been looked at yet" in text
    assert "Not looked at" in text
    assert answer.context["standing"].level == "plain"
    assert "ops-good" not in answer.content.decode()
    assert "Never run" in words(browser.get(CHECKS))


def test_findings_stand_there_with_age_and_next_step(browser: Browser, now: datetime) -> None:
    make_results(now)
    make_finding(now)
    make_finding(
        now,
        key="b",
        severity="warning",
        title="An older warning",
        opened_at=now - timedelta(days=3),
        next_step="",
        times_opened=2,
    )
    make_finding(now, key="c", title="It is over", resolved_at=now - timedelta(minutes=5))
    asleep = now + timedelta(days=1)
    make_finding(now, key="d", title="Not now", snoozed_until=asleep, snooze_reason="moving house")
    text = words(browser.get(HEALTH))
    assert "1 critical finding and 1 warning" in text
    assert "1 more is snoozed or accepted" in text
    rows = browser.get(HEALTH).context["cl"].findings
    assert [row.finding.key for row in rows] == ["public.customers", "b"]
    assert "3 h ago" in text
    assert "Security · table public.customers" in text
    assert "ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;" in text
    assert "came back once" in text
    assert "It is over" not in text
    assert "Not now" not in text
    gone = words(browser.get(HEALTH, {"standing": "gone"}))
    assert "It is over" in gone
    assert "gone 5 min ago" in gone
    quiet = words(browser.get(HEALTH, {"standing": "quiet"}))
    assert "Not now" in quiet
    assert ": moving house" in quiet
    everything = words(browser.get(HEALTH, {"standing": "everything"}))
    assert all(each in everything for each in ("It is over", "Not now", "An older warning"))
    area = words(browser.get(HEALTH, {"area__exact": "storage"}))
    assert "There is no such finding." in area
    assert 'href="/admin/ops/finding/"' in browser.get("/admin/").content.decode()


def test_a_finding_tells_its_history_and_what_the_check_is_about(
    browser: Browser, now: datetime
) -> None:
    check = all_checks()[0]
    row = make_finding(now, check_name=check.name, area=check.area)
    press(browser, row, "acknowledge", note="on it")
    page = browser.get(reverse("admin:ops_finding_change", args=[row.pk]))
    text = words(page)
    assert "Any member's session reads all 12 rows." in text
    assert check.title in text
    assert f"{CHECKS}#{check.name}" in page.content.decode()
    assert "Acknowledged by root@platform.example: on it" in text
    assert "Found" in text
    checks = browser.get(CHECKS)
    assert f'id="{check.name}"' in checks.content.decode()


def test_what_people_decide_is_kept_and_told(browser: Browser, now: datetime) -> None:
    row = make_finding(now)
    url = reverse("admin:ops_finding_change", args=[row.pk])
    offered = [each["title"] for each in browser.get(url).context["actions_detail"]]
    assert offered == ["Acknowledge", "Assign", "Snooze"]
    assert "known to root@platform.example" in press(browser, row, "acknowledge")
    assert "ada@platform.example's" in press(browser, row, "assign", to="ada@platform.example")
    assert "This field is required" in press(browser, row, "snooze", hours="24")
    assert fresh(row).snoozed_until is None
    text = press(browser, row, "snooze", hours="168", reason="moving house")
    assert "snoozed by root@platform.example until" in text
    until = fresh(row).snoozed_until
    assert until is not None
    assert timedelta(days=6, hours=23) < until - now < timedelta(days=7, hours=1)
    offered = [each["title"] for each in browser.get(url).context["actions_detail"]]
    assert offered == ["Assign", "Wake"]
    press(browser, row, "wake")
    assert fresh(row).snoozed_until is None
    assert [event.kind for event in row.events.using("owner")] == [
        *("woken", "snoozed", "assigned", "acknowledged", "opened")
    ]


def test_check_now_is_a_run_that_the_worker_carries_out(browser: Browser) -> None:
    url = reverse("admin:ops_finding_check_now")
    assert "The checks read, and change nothing." in words(browser.get(url))
    answer = browser.post(url, {"area": "connection"})
    run = Run.objects.using("owner").get(kind="health")
    assert answer["Location"] == reverse("admin:ops_run_change", args=[run.pk])
    assert (run.arguments, run.asked_by) == (
        {"areas": ["connection"], "checks": []},
        "root@platform.example",
    )
    assert 'data-run="' in browser.get(HEALTH).content.decode()
    again = browser.post(url, {"area": "connection"})
    assert again["Location"] == answer["Location"]
    work()
    run.refresh_from_db()
    assert run.status == "done"
    text = words(browser.get(answer["Location"]))
    assert "See the findings" in text
    expected = sum(check.area == "connection" for check in all_checks())
    assert f"{expected} checks" in text
    assert "Nothing has been looked at yet" not in words(browser.get(HEALTH))


def test_checks_that_saw_nothing_or_never_ran_are_told(browser: Browser, now: datetime) -> None:
    names = [check.name for check in all_checks()]
    make_results(now - timedelta(minutes=2), but=names[:1], state=CheckState.BLIND)
    text = words(browser.get(CHECKS))
    assert "Never run" in text
    assert "Could not see everything" in text
    assert "ran 2 min ago, took 0.0 s" in text
    answer = browser.get(HEALTH)
    assert answer.context["standing"].level == "warning"


def test_the_pictures_say_what_they_show(browser: Browser, now: datetime) -> None:
    assert browser.get(HEALTH).context["charts"] == []
    make_samples(now)
    answer = browser.get(HEALTH)
    charts = {chart.title: chart for chart in answer.context["charts"]}
    assert list(charts) == [
        "Database size",
        "Connections",
        "Found in memory",
        "Slowest statements",
    ]
    for chart in charts.values():
        data = json.loads(chart.data)
        (dataset,) = data["datasets"]
        assert len(data["labels"]) == len(dataset["data"]) == len(chart.rows) <= 86
        assert chart.summary in html.unescape(answer.content.decode())
    assert "the newest 38.1 MB" in charts["Database size"].summary
    assert charts["Connections"].summary.endswith(", of 100 at most")
    assert charts["Slowest statements"].rows[0][1] == "12.5 ms"
    # What people entered is in no picture.
    assert charts["Slowest statements"].columns[1].endswith("AND status <> …")


def test_every_page_is_cheap_and_an_auditor_sees_it_without_buttons(now: datetime) -> None:
    make_results(now)
    row = make_finding(now)
    for number in range(30):
        make_finding(now, key=str(number), severity="warning")
    statement = make_samples(now)
    urls = [
        HEALTH,
        reverse("admin:ops_finding_change", args=[row.pk]),
        CHECKS,
        reverse("admin:ops_finding_activity"),
        reverse("admin:ops_statement_changelist"),
        reverse("admin:ops_statement_change", args=[statement.pk]),
    ]
    people = (
        platform_administrator(),
        platform_administrator("ada@platform.example", superuser=False),
        auditor(),
    )
    for number, browser in enumerate(map(browser_of, people)):
        for url in urls:
            asked = [
                each
                for each in statements(browser, url)
                # Opening and closing the request's own transaction ask for nothing.
                if not each.startswith(
                    ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET TRANSACTION")
                )
            ]
            # Who asks, and what they may: three more for whoever is no superuser. One of them is
            # the hash that the session is checked by, which no role of a request reads.
            most = 11 if number == 0 else 14
            assert len(asked) < most, (url, [each[:90] for each in asked])
    watching = browser
    for url in urls:
        text = watching.get(url).content.decode()
        assert not any(each in text for each in ("check-now", "/snooze/", "/assign/", "/end/"))
    for button in ("acknowledge", "assign", "snooze", "wake"):
        url = reverse(f"admin:ops_finding_{button}", args=[row.pk])
        assert watching.post(url, {"hours": "1", "reason": "x"}).status_code == 403
    assert watching.post(reverse("admin:ops_finding_check_now")).status_code == 403
    assert fresh(row).snoozed_until is None


def test_the_dashboard_has_a_card_that_alarms(browser: Browser, now: datetime) -> None:
    def card() -> tuple[list[str], str, bool]:
        (found,) = [
            each for each in browser.get("/admin/").context["cards"] if each["title"] == "Health"
        ]
        return found["values"], found["note"], found["alarm"]

    make_results(now)
    assert card() == (
        ["All is well"],
        f"{len(all_checks())} checks in 8 areas, the newest look a moment ago.",
        False,
    )
    make_finding(now, severity="warning", key="w", title="A small thing")
    assert card()[0] == ["A small thing"]
    assert card()[2] is False
    make_finding(now)
    assert card() == (
        ["1 critical finding and 1 warning"],
        "public.customers shows every business's rows to every other",
        True,
    )
