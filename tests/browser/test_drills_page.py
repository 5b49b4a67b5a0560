"""A platform administrator rehearses a restore, and sees on the way what it is worth."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.browser.operations import answer, outcome, press, problems, sign_in, worker
from tests.factories import make_business
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.conftest import Backups, backups

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "worker"]


@pytest.mark.long
def test_a_drill_is_asked_for_and_passes(
    backups: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    with by_default_login():
        make_business("Pipes")
    platform_administrator()
    backups.take(kind="full")
    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/drill/")
    assert "never proven" in answer(page)
    press(page, "Drill now", which="latest")
    assert "Done" in outcome(page)
    ladder = page.locator(".ops-ladder").inner_text()
    assert "FAILED" not in ladder
    page.get_by_role("link", name="The drill").click()
    assert "PASSED" in answer(page)
    page.goto(f"{live_site}/admin/ops/drill/")
    assert "last proven just now, in" in answer(page)
    assert page.locator(".ops-trend-point.ops-verdict-passed").count() >= 1
    assert problems == []
