"""A fault is planted by hand: found, named, snoozed, mended and gone; a held lock is let go."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg

from tests.browser.operations import (
    PATIENCE,
    answer,
    outcome,
    press,
    problems,
    sign_in,
    worker,
)
from tests.factories import make_business
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.conftest import Backups, backups
from tests.ops.health.test_live_sessions import one_blocks_another

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "worker"]


def look(page: Page, site: str) -> None:
    """Press "Check now" and wait until the worker has looked."""
    page.goto(f"{site}/admin/ops/finding/")
    press(page, "Check now", area="security")
    assert "Done" in outcome(page)
    page.get_by_role("link", name="See the findings").click()
    page.wait_for_url(f"{site}/admin/ops/finding/")


def found(page: Page) -> str:
    """What the list of findings says about row security."""
    return "\n".join(page.locator(".ops-finding", has_text="public.customers").all_inner_texts())


def test_a_fault_is_found_snoozed_mended_and_gone(
    backups: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    with by_default_login():
        make_business("Pipes")
    platform_administrator()
    backups.execute("ALTER TABLE public.customers DISABLE ROW LEVEL SECURITY")
    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/finding/")
    assert "Nothing has been looked at yet" in answer(page)
    look(page, live_site)
    assert "All is well" not in answer(page)
    assert "ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY" in found(page)

    row = page.locator(".ops-finding", has_text="ENABLE ROW LEVEL SECURITY").first
    row.get_by_role("link", name="Snooze").click()
    dialog = page.locator("#dialog-body")
    dialog.wait_for()
    dialog.locator("[name=reason]").fill("mended tonight")
    with page.expect_navigation():
        dialog.locator("button[type=submit]").click()
    assert "mended tonight" in page.locator(".ops-page").first.inner_text()
    page.goto(f"{live_site}/admin/ops/finding/?standing=quiet")
    assert "mended tonight" in found(page)

    backups.execute(
        "ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    )
    look(page, live_site)
    assert found(page) == ""
    page.goto(f"{live_site}/admin/ops/finding/?standing=gone")
    assert "gone" in found(page)
    assert problems == []


def test_a_held_lock_is_shown_and_cancelled(
    backups: Backups, live_site: str, page: Page, problems: list[str]
) -> None:
    platform_administrator()
    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/finding/activity/")
    assert "Nobody waits" in answer(page)
    with one_blocks_another() as (_, waiter):
        # The page asks again by itself.
        page.locator(".ops-answer", has_text="1 session waits").wait_for(timeout=PATIENCE)
        tree = page.locator(".ops-sessions").first
        assert [each.split("\n")[0] for each in tree.locator("li strong").all_inner_texts()]
        assert "holds up 1 other" in tree.inner_text()
        assert "AccessShareLock on public.jobs" in tree.inner_text()
        tree.get_by_role("link", name="Cancel the query").click()
        dialog = page.locator("#dialog-body")
        dialog.wait_for()
        assert "It is recorded." in dialog.inner_text()
        with page.expect_navigation():
            dialog.locator("button[type=submit]").click()
        assert "Its query was cancelled" in page.locator("body").inner_text()
        # BEGIN's result comes first.
        _, cancelled = (waiter.wait(psycopg.generators.fetch(waiter.pgconn)) for _ in range(2))
        assert cancelled is not None
        assert b"canceling statement due to user request" in cancelled.error_message
        page.locator(".ops-answer", has_text="Nobody waits").wait_for(timeout=PATIENCE)
    assert problems == []
