"""The list, a backup's page and the runs: what they say, and what they cost."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ops.models import Backup, BackupState, Run, RunStatus
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, ask
from tests.ops.admin.rows import (
    SEGMENT,
    Browser,
    browser_of,
    make_backup,
    make_segment,
    platform_administrator,
)

pytestmark = pytest.mark.usefixtures("fresh_database")
LIST = "/admin/ops/backup/"
RUNS = "/admin/ops/run/"
ADA = Asker("ada@platform.example", "admin", 1)


@pytest.fixture
def browser() -> Browser:
    return browser_of(platform_administrator())


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def words(answer: Any) -> str:
    assert answer.status_code == 200
    body = answer.content.decode()
    content = body[body.index('id="content"') :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content))


def statements(browser: Browser, url: str) -> list[str]:
    """Every statement that a page sends."""
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(url).status_code == 200
    return [query["sql"] for query in captured]


def a_chain(now: datetime) -> None:
    base = make_backup(now - timedelta(days=3), kind="base", lsn=0, state=BackupState.VERIFIED)
    for day in (2, 1):
        base = make_backup(
            now - timedelta(days=day), kind="incremental", parent=base, lsn=SEGMENT * (3 - day)
        )


def test_an_empty_catalogue_says_so_and_offers_the_first_backup(browser: Browser) -> None:
    text = words(browser.get(LIST))
    assert "There is no backup yet. A failure now would lose everything." in text
    assert "Back up now" in text
    assert "No results found" not in text
    assert "No results found" in words(browser.get(f"{LIST}?state__exact=failed"))


def test_a_row_tells_all_there_is_to_tell_about_a_backup(browser: Browser, now: datetime) -> None:
    make_backup(
        now - timedelta(hours=3),
        state=BackupState.PROVEN,
        rows=1_234_567,
        size=3 << 30,
        seconds=200.0,
        pinned_at=now,
        pinned_by="ada",
        pin_reason="before the move",
    )
    answer = browser.get(LIST)
    text = words(answer)
    assert "3 h ago" in text
    assert "Full" in text
    assert "verified Proven" in text  # the symbol's name, and the word
    assert "3.0 GB 1,234,567 3 min 20 s - Storage" in text
    assert "Pinned: before the move" in answer.content.decode()


def test_pages_cost_as_many_queries_for_fifty_backups_as_for_few(
    browser: Browser, now: datetime
) -> None:
    def one_more(hours: int) -> Backup:
        backup = make_backup(now - timedelta(hours=hours), state=BackupState.VERIFIED)
        with as_owner_by_default():
            ask("verify", backup.name, by=ADA, backup=backup)
        return backup

    a_chain(now)
    for segment in range(3):
        make_segment(segment, now - timedelta(days=3 - segment))
    backup = one_more(1)
    urls = [LIST, RUNS, reverse("admin:ops_backup_change", args=[backup.pk])]
    few = {url: len(statements(browser, url)) for url in urls}
    for hours in range(2, 52):
        one_more(hours)
    after = {url: statements(browser, url) for url in urls}
    assert {url: len(asked) for url, asked in after.items()} == few
    for asked in after.values():
        about_operations = [each for each in asked if '"ops_' in each]
        assert len(about_operations) <= 12
        assert len(asked) <= 21
    # A manifest may be megabytes: no list reads one.
    assert not any('"ops_backup"."manifest",' in each for each in [*after[LIST], *after[RUNS]])


def test_the_list_is_filtered_by_kind_state_and_day(browser: Browser, now: datetime) -> None:
    a_chain(now)
    make_backup(now - timedelta(days=40), state=BackupState.FAILED)

    def found(query: str) -> int:
        return int(browser.get(f"{LIST}?{query}").context["cl"].result_count)

    assert found("") == 4
    assert found("kind__exact=incremental") == 2
    assert found("state__exact=failed") == 1
    day = f"{now - timedelta(days=2):%Y-%m-%d}"
    assert found(f"taken_at_from={day}") == 2
    assert found(f"taken_at_to={day}") == 3
    assert found("q=-base-") == 1


def test_chains_are_told_on_the_list_and_shown_on_the_page(browser: Browser, now: datetime) -> None:
    a_chain(now)
    text = words(browser.get(LIST))
    for place in ("base of 2", "link 2, 1 needs it", "link 3"):
        assert place in text
    middle = Backup.objects.using("owner").get(
        kind="incremental", taken_at__lt=now - timedelta(hours=36)
    )
    page = browser.get(reverse("admin:ops_backup_change", args=[middle.pk]))
    assert [link["row"].kind for link in page.context["links"]] == [
        "base",
        "incremental",
        "incremental",
    ]
    assert [link["is_this"] for link in page.context["links"]] == [False, True, False]


def test_the_pictures_draw_what_the_catalogue_has(browser: Browser, now: datetime) -> None:
    a_chain(now)
    for number in (0, 1, 2, 3, 7):
        make_segment(number, now - timedelta(days=3) + timedelta(hours=number))
    make_backup(now - timedelta(hours=5), size=2 << 20, seconds=7)
    overview = browser.get(LIST).context["overview"]
    line = overview.timeline
    assert [dot.state for dot in line.dots] == ["verified", "taken", "taken", "taken"]
    assert len(line.windows) == 1
    assert any("missing from the WAL archive" in gap.title for gap in line.gaps)
    size, duration = overview.charts
    kinds = {each["label"]: each["data"] for each in json.loads(size.data)["datasets"]}
    assert kinds["Full, MB"] == [None, None, None, 2.0]
    assert json.loads(duration.data)["datasets"][-1]["data"] == [None, None, None, 7]
    assert browser.get(f"{LIST}?kind__exact=full").context["overview"].timeline is None


def test_a_backups_page_shows_its_manifest_by_table(browser: Browser, now: datetime) -> None:
    backup = make_backup(now - timedelta(hours=1), rows=1_111_111, tables=7)
    answer = browser.get(reverse("admin:ops_backup_change", args=[backup.pk]))
    text = words(answer)
    assert "1,111,111 in 7 tables" in text
    assert "invoice_lines 100 000000000002" in text
    assert f"{backup.name}.dump.zst.age 12,345,678 bytes" in text
    assert f"SHA-256 {12345678:064x}" in text
    assert "2 applied" in text
    assert "PostgreSQL 18.6" in text
    assert not re.search(r"<script>|\son\w+=", answer.content.decode())


def test_what_a_note_says_is_text_and_no_markup(browser: Browser, now: datetime) -> None:
    note = "<script>alert(1)</script>"
    backup = make_backup(now, state=BackupState.FAILED, state_note=note, pin_reason="")
    with as_owner_by_default():
        run = ask("verify", note, by=Asker(note, "admin"), backup=backup)
        Run.objects.filter(pk=run.pk).update(status=RunStatus.FAILED, message=note)
    for url in (
        LIST,
        RUNS,
        reverse("admin:ops_backup_change", args=[backup.pk]),
        reverse("admin:ops_run_change", args=[run.pk]),
    ):
        assert note not in browser.get(url).content.decode()


def test_a_backup_that_is_not_there_is_told_as_such(browser: Browser) -> None:
    answer = browser.get(reverse("admin:ops_backup_change", args=[999]), follow=True)
    assert "doesn’t exist" in answer.content.decode()  # noqa: RUF001 (Django's own)
    assert browser.get(reverse("admin:ops_backup_manifest", args=[999])).status_code == 404
    assert browser.get(reverse("admin:ops_run_status", args=[999])).status_code == 404


def test_the_dashboard_tells_platform_administrators_how_backups_stand(
    browser: Browser, now: datetime
) -> None:
    def card() -> dict[str, Any]:
        cards: list[dict[str, Any]] = browser.get("/admin/").context["cards"]
        return next(each for each in cards if each["title"] == "Backups")

    assert (card()["values"], card()["alarm"]) == (["There is no backup yet."], True)
    make_backup(now, state=BackupState.PROVEN)
    assert (card()["values"], card()["alarm"]) == ([f"Restorable to today {now:%H:%M}."], False)
