"""A headless Chromium for the browser tests: the system's own, nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# The headless shell draws the same pages with half the work: it has no windows to compose.
_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)


def _chromium() -> str | None:
    named = os.environ.get("SRVC_CHROMIUM")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and say why it is skipped where there is no browser."""
    missing = pytest.mark.skip(
        reason="no Chromium on PATH (Debian: apt-get install chromium-headless-shell) nor in"
        " SRVC_CHROMIUM"
    )
    for item in items:
        if "tests/browser/" not in item.path.as_posix():
            continue
        item.add_marker(pytest.mark.browser)
        if _chromium() is None:
            item.add_marker(missing)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Return one Chromium for the worker's whole session."""
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread; Django would refuse its database beside one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        # As root, in CI, Chromium's sandbox cannot start; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """Return a page in a context of its own: no cookies of another test."""
    # Bars that move while somebody waits cost more to draw than all else on the page.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield context.new_page()
    context.close()
