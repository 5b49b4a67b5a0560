"""A platform administrator uses every button of backups, with a real worker behind them."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from ops.models import Backup
from tests.browser.operations import answer, outcome, press, problems, sign_in, worker
from tests.ops.admin.rows import platform_administrator
from tests.ops.backups.conftest import Backups, backups

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "worker"]
PHONE = {"width": 390, "height": 844}


@pytest.mark.simulation
def test_backups_live_from_the_first_to_the_last_button(
    backups: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    platform_administrator()
    site = f"{live_site}/admin/ops/backup/"
    sign_in(page, live_site)
    page.locator(".srvc-cards a").filter(has_text="Backups").click()
    assert "There is no backup yet." in answer(page)

    press(page, "Back up now", label="first")
    assert "is taken" in outcome(page)
    page.get_by_role("link", name="See the backup").click()
    backup = page.url
    for button, state in (("Verify", "VERIFIED"), ("Prove", "PROVEN")):
        press(page, button)
        assert "Done" in outcome(page)
        page.goto(backup)
        assert state in answer(page)
    press(page, "Pin", reason="before the move")
    assert "Pinned: before the move" in outcome(page)
    page.goto(site)
    assert "Restorable to today" in answer(page)
    assert page.locator("[aria-label=Pinned]").is_visible()
    assert page.locator(".ops-dot.ops-is-proven").count() == 1

    # A schema change in an open transaction keeps this one waiting, so that it can be cancelled.
    with backups.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        press(page, "Back up now", label="second")
        page.locator("[data-phase]").get_by_text(re.compile("(?!Waiting)")).wait_for()
        press(page, "Cancel")
        assert "Cancelled" in outcome(page)

    page.goto(site)
    press(page, "Back up now", label="third")
    assert "is taken" in outcome(page)
    page.goto(site)
    charts = page.locator("canvas.chart")
    assert charts.count() == 2
    drawn = charts.first.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
        ".data.some(value => value)"
    )
    assert drawn

    third = Backup.objects.newest_first()[0]
    page.goto(f"{site}{third.pk}/change/")
    assert page.get_by_role("rowheader", name="customers", exact=True).is_visible()
    page.get_by_label("Find a table").fill("invoice_l")
    assert not page.get_by_role("rowheader", name="customers", exact=True).is_visible()
    with page.expect_download() as downloading:
        page.locator("#header-inner").get_by_role("link", name="Download").click()
        page.locator("#dialog-body button[type=submit]").click()
    stored = backups.folder / third.manifest["objects"][0]["name"]
    assert downloading.value.path().read_bytes() == stored.read_bytes()

    page.goto(f"{site}{third.pk}/change/")
    press(page, "Delete", name=third.name)
    assert "is deleted" in outcome(page)
    assert not stored.exists()
    assert problems == []

    page.set_viewport_size(PHONE)
    for address in (site, backup, f"{live_site}/admin/ops/run/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        table = page.locator("#result_list")
        if table.count():
            assert table.evaluate("table => table.parentElement.scrollWidth") <= PHONE["width"]


def test_a_lost_connection_is_told_and_found_again(
    backups: Backups, live_site: str, page: Page
) -> None:
    platform_administrator()
    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/backup/")
    press(page, "Back up now")  # nobody takes it up
    assert "Waiting for the worker" in page.locator(".ops-live").inner_text()
    page.route("**/status/", lambda route: route.abort())
    lost = page.locator("[data-lost]")
    lost.wait_for(state="visible")
    page.unroute("**/status/")
    lost.wait_for(state="hidden")
