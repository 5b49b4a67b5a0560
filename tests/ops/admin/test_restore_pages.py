"""Ops → Restore and Ops → Drills: what the pages say of restores, recoveries and drills."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from ops.models import BackupState, DrillVerdict, RecoveryState, RestoreState
from tests.ops.admin.restore_rows import make_drill, make_recovery, make_restore
from tests.ops.admin.rows import Browser, browser_of, make_backup, platform_administrator
from tests.ops.admin.test_pages import words

pytestmark = pytest.mark.usefixtures("fresh_database")
RESTORES = "/admin/ops/restore/"
DRILLS = "/admin/ops/drill/"


@pytest.fixture
def browser() -> Browser:
    return browser_of(platform_administrator())


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def buttons(browser: Browser, url: str) -> list[str]:
    return [each["title"] for each in browser.get(url).context["actions_detail"]]


def test_an_empty_page_says_so_and_offers_the_wizard(browser: Browser) -> None:
    text = words(browser.get(RESTORES))
    assert "Nothing can be restored: there is no good backup of development." in text
    assert "None yet. Everything, a moment, tables, an account or a customer" in text
    assert "No results found" not in text
    assert "No drill yet" in words(browser.get(DRILLS))


def test_the_list_tells_what_can_be_restored_and_what_was(browser: Browser, now: datetime) -> None:
    make_backup(now - timedelta(hours=3), state=BackupState.PROVEN)
    make_restore(now)
    make_recovery()
    text = words(browser.get(RESTORES))
    assert "Restorable to" in text
    assert "the backup srvc-full" in text
    assert "In place" in text
    assert "Undo until" in text
    assert "customer 77" in text
    assert "Previewed" in text
    menu = browser.get("/admin/").content.decode()
    assert f'href="{RESTORES}"' in menu
    assert f'href="{DRILLS}"' in menu


def test_a_restore_tells_where_the_time_went_and_how_to_take_it_back(
    browser: Browser, now: datetime
) -> None:
    restore = make_restore(now)
    url = reverse("admin:ops_restore_change", args=[restore.pk])
    answer = browser.get(url)
    text = words(answer)
    assert "61 tables are equal." in text
    assert "Restore beside 12 s" in text
    assert "Compare 61 tables equal, row by row 5.0 s" in text
    assert "In all 20 s" in text
    assert "Of which writes closed as long as nothing could be changed 6.0 s" in text
    assert [part.width for part in answer.context["phases"].parts] == [12.5, 62.5, 25.0]
    assert "kept as srvc_before_1 until" in text
    assert buttons(browser, url) == ["Undo"]
    for change in (
        {"state": RestoreState.UNDONE, "undone_at": now, "undone_by": "grace"},
        {"dropped_at": now},
        {"state": RestoreState.FAILED, "kept_database": ""},
    ):
        other = make_restore(now, **change)
        assert buttons(browser, reverse("admin:ops_restore_change", args=[other.pk])) == []


def test_a_preview_shows_old_beside_new_and_offers_to_go_on(browser: Browser) -> None:
    recovery = make_recovery()
    url = reverse("admin:ops_recovery_change", args=[recovery.pk])
    text = words(browser.get(url))
    assert "1,205 rows would change. Nothing was changed yet" in text
    assert "1 thing of today stands in the way Number INV-0042 is taken" in text
    assert "invoices 1,204 2 0 1,204 would come back" in text
    assert "id 12 changed, stays as it is total 90.00 120.00" in text
    assert "The column nickname is gone; it is left out." in text
    assert buttons(browser, url) == ["Recover…"]
    dialog = browser.get(reverse("admin:ops_recovery_apply", args=[recovery.pk])).content.decode()
    assert "1,205 rows change, from the backup srvc-full, in one transaction" in dialog
    applied = make_recovery(state="applied", applied_at=timezone.now())
    assert buttons(browser, reverse("admin:ops_recovery_change", args=[applied.pk])) == ["Undo"]


def test_values_of_rows_are_text_and_never_markup(browser: Browser) -> None:
    evil = "<script>alert(1)</script>"
    sample = {"key": {"id": evil}, "what": "missing", "act": "", "columns": {evil: [evil, evil]}}
    table = {"table": evil, "missing": 1, "planned": {}, "samples": [sample]}
    recovery = make_recovery(plan={"tables": [table], "conflicts": [evil], "notes": [evil]})
    page = browser.get(reverse("admin:ops_recovery_change", args=[recovery.pk])).content.decode()
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_a_drill_shows_its_ladder_and_the_list_its_trend(browser: Browser, now: datetime) -> None:
    backup = make_backup(now - timedelta(hours=3), state=BackupState.PROVEN)
    make_drill(now - timedelta(days=2), rto_seconds=30.0)
    drill = make_drill(
        now - timedelta(days=1), DrillVerdict.FAILED, backup=backup, rto_seconds=60.0
    )
    text = words(browser.get(reverse("admin:ops_drill_change", args=[drill.pk])))
    assert "Held It restores in 9.0 s 9.0 s" in text
    assert "Failed Every row is there invoices: 829 instead of 830 3.0 s" in text
    assert "Skipped The application works after a failure" in text
    assert "1 min 0 s (promised 1 h 0 min)" in text
    answer = browser.get(DRILLS)
    restoring, losing = answer.context["trends"]
    assert restoring.summary == (
        "Until the data can be used (RTO): the last 1 min 0 s, at most 1 min 0 s, promised 1 h 0 "
        "min."
    )
    assert [point.verdict for point in restoring.points] == ["passed", "failed"]
    # Twice as long stands twice as high; the older one first.
    first, second = restoring.points
    assert first.x < second.x
    assert 126 - second.y == 2 * (126 - first.y)
    assert losing.title == "Work that would be lost (RPO)"
    assert "A drill failed" in words(answer)


def test_the_page_of_a_run_shows_what_became_of_it(browser: Browser, now: datetime) -> None:
    restore, recovery, drill = make_restore(now), make_recovery(), make_drill(now)
    for row, expected in (
        (restore, "Where the time went"),
        (recovery, "The difference, table by table"),
        (drill, "The ladder"),
    ):
        assert row.run is not None
        text = words(browser.get(reverse("admin:ops_run_change", args=[row.run.pk])))
        assert expected in text


def test_the_dashboard_tells_when_a_restore_was_last_proven(
    browser: Browser, now: datetime
) -> None:
    make_backup(now - timedelta(hours=3))
    assert "Never proven" in words(browser.get("/admin/"))
    make_drill(now - timedelta(hours=3))
    text = words(browser.get("/admin/"))
    assert "Proven 2 h ago, in 42 s" in text
    assert "Restorable to" in text


@pytest.mark.parametrize("state", [RecoveryState.FAILED, RecoveryState.PREVIEWED])
def test_what_was_never_compared_does_not_read_as_equal(browser: Browser, state: str) -> None:
    equal = "No differences"
    nothing = {"tables": [], "conflicts": [], "notes": []}
    for plan, known in (({}, False), (nothing, True)):
        recovery = make_recovery(state=state, plan=plan, note="The backup can't be opened.")
        assert recovery.run_id is not None
        urls = [
            reverse("admin:ops_recovery_change", args=[recovery.pk]),
            reverse("admin:ops_run_change", args=[recovery.run_id]),
        ]
        for url in urls:
            text = words(browser.get(url))
            assert (equal in text, "were not compared" in text) == (known, not known)
            assert "Nothing would change." not in text or known
