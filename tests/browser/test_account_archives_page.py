"""A platform administrator takes Northwind out as a file, and in again under another address."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ops.models import Run
from tests.browser.operations import (
    PATIENCE,
    outcome,
    press,
    problems,
    sign_in,
    worker,
)
from tests.crm.imports.northwind import import_all, needs_northwind
from tests.factories import make_business
from tests.harness import database
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.conftest import Backups, backups

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "worker"]
pytestmark = needs_northwind
PHONE = {"width": 390, "height": 844}
OWNER, NEW = "owner@northwind.example", "copy@northwind.example"
_COUNTED = ("customers", "jobs", "invoices", "invoice_lines", "payments")


@pytest.fixture
def northwind(backups: Backups) -> Backups:
    """An installation with the whole Northwind account, and an administrator."""
    database.provide_template(backups.database)
    with by_default_login():
        import_all(make_business("Northwind", email=OWNER))
    platform_administrator()
    return backups


def rows_of(northwind: Backups, email: str) -> dict[str, int]:
    """How many rows an account has in each of some tables."""
    found = {}
    with northwind.connect() as connection:
        for table in _COUNTED:
            row = connection.execute(
                f"SELECT count(*) FROM {table} t JOIN users u ON u.id = t.user_id"
                " WHERE u.email = %s".encode(),
                [email],
            ).fetchone()
            assert row is not None
            found[table] = row[0]
    return found


def shown(page: Page) -> dict[str, int]:
    """How many rows of these tables the page tells of."""
    lines = [line.split() for line in page.locator(".ops-table tbody tr").all_inner_texts()]
    told = {name: int(number.replace(",", "")) for name, number in lines}
    return {table: told[table] for table in _COUNTED}


def failure(page: Page) -> str:
    """Wait until a run has ended as it should not, and return what it says."""
    ended = page.locator(".ops-answer.ops-danger")
    ended.wait_for(timeout=PATIENCE)
    return ended.inner_text()


@pytest.mark.simulation
def test_an_account_goes_out_as_a_file_and_comes_in_under_another_address(
    northwind: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    whole = rows_of(northwind, OWNER)
    assert whole["customers"] > 0
    assert whole["invoices"] > 0
    sign_in(page, live_site)

    # Out.
    page.goto(f"{live_site}/admin/ops/restore/")
    press(page, "Export account…", account=OWNER)
    assert "are in the archive." in outcome(page)
    assert shown(page) == whole
    export = page.url
    with page.expect_download() as downloading:
        page.locator("#header-inner").get_by_role("link", name="Download").click()
        page.locator("#dialog-body button[type=submit]").click()
    [stored] = (northwind.var / "accounts" / "exports").iterdir()
    archive = downloading.value.path()
    assert archive.read_bytes() == stored.read_bytes()
    assert downloading.value.suggested_filename.startswith(f"{OWNER}-")
    [download] = Run.objects.filter(kind="download")
    assert (download.subject, download.asked_by) == (f"account {OWNER}", "root@platform.example")

    # In: its address is taken here, so it comes under another one.
    page.goto(f"{live_site}/admin/ops/restore/")
    page.locator("#header-inner").get_by_role("link", name="Import account…").click()
    page.locator("[name=archive]").set_input_files(archive)
    page.get_by_role("button", name="Upload and look").click()
    assert f"Somebody signs in with {OWNER} here already" in failure(page)
    press(page, "Another address…", as_login=NEW)
    assert f"{NEW} would come in" in outcome(page)
    assert "What would come in" in page.locator(".ops-page").inner_text()
    assert shown(page) == whole
    assert rows_of(northwind, NEW) == dict.fromkeys(_COUNTED, 0)
    preview = page.url
    press(page, "Import…", email=NEW)
    assert f"{NEW} came in as account" in outcome(page)
    assert "What came in" in page.locator(".ops-page").inner_text()
    assert shown(page) == whole
    assert rows_of(northwind, NEW) == whole
    assert rows_of(northwind, OWNER) == whole
    assert list((northwind.var / "accounts" / "uploads").iterdir()) == []
    imported = page.url
    page.get_by_role("link", name="The preview").click()
    page.wait_for_url(preview)
    assert page.locator("#header-inner").get_by_role("link", name="Import…").count() == 0
    page.goto(f"{live_site}/admin/ops/restore/")
    assert f"Export account {OWNER}" in page.locator(".ops-rows").last.inner_text()
    assert problems == []

    page.set_viewport_size(PHONE)
    upload = f"{live_site}/admin/ops/restore/accounts/import/"
    for address in (export, upload, preview, imported, f"{live_site}/admin/ops/restore/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
