"""A platform administrator brings parts, then everything, back by the wizard, and undoes it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from crm.services.documents import issue_invoice
from ops.models import Backup
from ops.rls.session import acting_as
from tests.browser.operations import answer, outcome, press, problems, sign_in, step, worker
from tests.crm.imports.northwind import import_all, needs_northwind
from tests.factories import A_DAY, make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.conftest import Backups, backups

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "worker"]
pytestmark = needs_northwind
_OWNER = "owner@northwind.example"
# As a mistaken script does it: past every trigger and every key.
_INVOICES = "(SELECT id FROM invoices WHERE customer_id = {0})"
_LOSE = f"""
    SET session_replication_role = replica;
    DELETE FROM payments WHERE customer_id = {{0}};
    DELETE FROM payment_allocations WHERE invoice_id IN {_INVOICES};
    DELETE FROM invoice_lines WHERE invoice_id IN {_INVOICES};
    DELETE FROM invoices WHERE customer_id = {{0}};
    DELETE FROM jobs WHERE customer_id = {{0}};
    DELETE FROM customers WHERE id = {{0}};
"""
_TABLES = (
    *("accounts", "customers", "jobs", "invoices", "invoice_lines"),
    *("payments", "payment_allocations"),
)


@pytest.fixture
def northwind(backups: Backups) -> Backups:
    """An installation with the whole Northwind account, and an administrator."""
    database.provide_template(backups.database)
    with by_default_login():
        owner = make_business("Northwind", email=_OWNER)
        import_all(owner)
        with acting_as(owner, via="test"):
            # Whose invoices are the last ones: without them the numbers still have no gap.
            customer = make_customer(company_name="Last Orders")
            for price in ("100", "20"):
                invoice = make_invoice(customer, price, issue_date=A_DAY)
                issue_invoice(invoice=invoice, by=owner)
    platform_administrator()
    return backups


def content(northwind: Backups) -> dict[str, tuple[Any, ...]]:
    """How many rows each table has, and one hash over all of them."""
    found = {}
    with northwind.connect() as connection:
        for table in _TABLES:
            row = connection.execute(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t".encode()
            ).fetchone()
            assert row is not None
            found[table] = row
    return found


def recover(page: Page, northwind: Backups, before: dict[str, tuple[Any, ...]]) -> str:
    """Look at the preview, which changes nothing, and carry it out; what the preview said."""
    page.get_by_role("button", name="Preview").click()
    assert "Done" in outcome(page)
    assert content(northwind) == before
    would = page.locator(".ops-table").inner_text()
    page.locator(".ops-buttons").get_by_role("link", name="Recover…").click()
    page.fill("#dialog-body [name=name]", northwind.database)
    page.get_by_role("button", name="Recover").click()
    assert "Done" in outcome(page)
    return would


def take_back(page: Page) -> None:
    """Undo the recovery whose run is shown."""
    page.get_by_role("link", name="The recovery").click()
    press(page, "Undo")
    assert "Done" in outcome(page)


@pytest.mark.simulation
def test_parts_and_then_everything_come_back_and_are_undone(
    northwind: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    backup: Backup = northwind.take(kind="full")
    whole = content(northwind)
    with northwind.connect() as connection:
        row = connection.execute(
            "SELECT id FROM customers WHERE company_name = 'Last Orders'"
        ).fetchone()
        assert row is not None
    customer = row[0]
    northwind.execute(_LOSE.format(customer))
    lost = content(northwind)
    assert whole["invoices"][0] - lost["invoices"][0] == 2

    # A customer, with everything that belongs to it.
    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/restore/")
    assert "Restorable to" in answer(page)
    page.locator("#header-inner").get_by_role("link", name="Restore…").click()
    step(page, "A customer: with all that belongs to it")
    step(page)  # the newest backup
    step(page, keys=str(customer))
    assert "2 would come back" in recover(page, northwind, lost)
    assert content(northwind) == whole
    take_back(page)
    assert content(northwind) == lost

    # A table, with what its rows stand on and what belongs to them.
    page.goto(f"{live_site}/admin/ops/restore/begin/")
    step(page, "Tables: ")
    step(page)
    page.locator(".ops-form [name=tables][value=invoices]").check()
    step(page)
    assert "2 would come back" in recover(page, northwind, lost)
    assert content(northwind)["invoices"] == whole["invoices"]
    take_back(page)
    assert content(northwind) == lost

    # An account: whatever it has lost.
    page.goto(f"{live_site}/admin/ops/restore/begin/")
    step(page, "An account: ")
    step(page)
    step(page, keys=_OWNER)
    assert "2 would come back" in recover(page, northwind, lost)
    assert content(northwind) == whole
    take_back(page)
    assert content(northwind) == lost

    # Everything.
    page.goto(f"{live_site}/admin/ops/backup/{backup.pk}/change/")
    page.get_by_role("link", name="Restore…").click()
    step(page)  # this backup
    step(page)  # with a backup of what is replaced
    assert "Whatever was written since" in page.locator(".ops-facts").inner_text()
    page.get_by_role("link", name="Next").click()
    page.fill("[name=name]", northwind.database)
    page.get_by_role("button", name="Restore").click()
    assert "Done" in outcome(page)
    assert content(northwind) == whole
    assert "Where the time went" in page.locator(".ops-page").inner_text()
    page.get_by_role("link", name=re.compile("The restore$")).click()
    press(page, "Undo", name=northwind.database)
    assert "Done" in outcome(page)
    assert content(northwind) == lost
    page.goto(f"{live_site}/admin/ops/restore/")
    assert "UNDONE" in page.locator("#result_list").inner_text()
    assert problems == []
