"""How a platform administrator uses the pages of operations, and the worker behind them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ops.background import QUEUE
from tests.ops.admin.rows import PASSWORD
from tests.ops.backups.conftest import Backups

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 120_000  # milliseconds that a worker's process may take on a busy machine


@pytest.fixture
def problems(page: Page) -> list[str]:
    """What the browser complained about: scripts that failed, policies violated."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console", lambda message: found.append(message.text) if message.type == "error" else None
    )
    return found


@pytest.fixture
def worker(backups: Backups) -> Iterator[subprocess.Popen[str]]:
    """Run the worker for operations as `make run` does, only more impatient."""
    process = backups.manage(
        *("db_worker", "--queue-name", QUEUE, "--interval", "0.1"),
        *("--no-startup-delay", "--no-reload", "--verbosity", "0"),
    )
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def sign_in(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/")
    page.fill("[name=username]", "root@platform.example")
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]:has-text('Log in')")
    page.wait_for_url(f"{site}/admin/")


def press(page: Page, button: str, /, **answers: str) -> None:
    """Press a button on top of the page and answer its dialog."""
    page.locator("#header-inner").get_by_role("link", name=button).click()
    dialog = page.locator("#dialog-body")
    dialog.wait_for()
    for field, answer in answers.items():
        asked = dialog.locator(f"[name={field}]")
        if asked.evaluate("field => field.localName") == "select":
            asked.select_option(answer)
        else:
            asked.fill(answer)
    with page.expect_navigation():
        dialog.locator("button[type=submit]").click()


def step(page: Page, *radios: str, **answers: str) -> None:
    """Answer a step of the restore wizard, and go on."""
    form = page.locator(".ops-form")
    for text in radios:
        form.get_by_text(text).click()
    for name, value in answers.items():
        form.locator(f"[name={name}]").fill(value)
    with page.expect_navigation():
        form.get_by_role("link", name="Next").or_(form.get_by_role("button", name="Next")).click()


def outcome(page: Page) -> str:
    """Wait on a run's page until it has ended; return what it says."""
    ended = page.locator("[role=status].ops-answer")
    ended.wait_for(timeout=PATIENCE)
    return ended.inner_text()


def answer(page: Page) -> str:
    return page.locator(".ops-answer").first.inner_text()
