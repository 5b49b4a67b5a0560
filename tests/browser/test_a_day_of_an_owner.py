"""From signing in to being paid, in a real browser, as an Owner; and a stranger sees none of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.factories import make_business

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "a long pass phrase"


def sign_in(page: Page, site: str, email: str) -> None:
    page.goto(f"{site}/")
    page.get_by_label(re.compile("e-mail", re.IGNORECASE)).fill(email)
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill(PASSWORD)
    page.locator("button[type=submit]").click()
    page.wait_for_url(f"{site}/admin/")


def save(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Save and continue editing").click()
    assert "/change/" in page.url, page.locator("body").inner_text()


def press(page: Page, name: str, **answers: str) -> None:
    """Press a button of the row's page and answer what its dialog asks."""
    page.get_by_role("link", name=name).first.click()
    dialog = page.locator("#dialog-body")
    dialog.wait_for()
    for field, answer in answers.items():
        dialog.locator(f"[name={field}]").fill(answer)
    with page.expect_navigation():
        dialog.get_by_role("button", name=name).click()


def add_lines(page: Page, *lines: tuple[str, str, str]) -> None:
    for number, (description, quantity, price) in enumerate(lines):
        if not page.locator(f"[name=lines-{number}-description]").is_visible():
            page.get_by_role("link", name=re.compile("Add another .* line")).click()
        page.fill(f"[name=lines-{number}-description]", description)
        page.fill(f"[name=lines-{number}-quantity]", quantity)
        page.fill(f"[name=lines-{number}-unit_price]", price)


def figures(page: Page, site: str) -> str:
    page.goto(f"{site}/admin/")
    return page.locator("#content").inner_text()


@pytest.fixture
def problems(page: Page) -> list[str]:
    """What the browser complained about: scripts that failed, policies violated."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console", lambda message: found.append(message.text) if message.type == "error" else None
    )
    return found


@pytest.mark.long
def test_an_owner_works_from_customer_to_cash(
    live_site: str, page: Page, problems: list[str]
) -> None:
    make_business("Pipes", email="owner@pipes.example", password=PASSWORD)
    make_business("Lawns", email="owner@lawns.example", password=PASSWORD)
    sign_in(page, live_site, "owner@pipes.example")
    assert "$123.45" not in figures(page, live_site)

    page.goto(f"{live_site}/admin/crm/customer/add/")
    page.fill("[name=first_name]", "Ada")
    page.fill("[name=last_name]", "Lovelace")
    save(page)
    customer = page.url

    press_link(page, "New quote")
    page.fill("[name=title]", "Boiler")
    add_lines(page, ("Valve", "1", "42.45"), ("Hour", "2", "40.50"))
    save(page)
    assert "$123.45" in page.locator("body").inner_text()
    quote = page.url
    press(page, "Mark as sent")
    assert "Q-00001" in page.locator("body").inner_text()
    assert "$123.45" in figures(page, live_site)

    page.goto(customer)
    press_link(page, "New job")
    page.fill("[name=title]", "Mend the boiler")
    save(page)

    page.goto(customer)
    press_link(page, "New invoice")
    add_lines(page, ("Valve", "1", "200"))
    save(page)
    invoice = page.url
    press(page, "Issue")
    assert "INV-00001" in page.locator("body").inner_text()
    assert "$200.00" in figures(page, live_site)
    page.goto(invoice)
    press(page, "Record payment", amount="150")
    assert "$50.00" in page.locator("body").inner_text()
    dashboard = figures(page, live_site)
    assert "$50.00" in dashboard
    assert "Overdue\n\nNone" in dashboard
    page.get_by_text("As a table").click()
    assert "$200.00" in page.locator("#content").inner_text()  # what was billed stays
    assert problems == []

    stranger = page.context.browser.new_context().new_page()  # type: ignore[union-attr]
    sign_in(stranger, live_site, "owner@lawns.example")
    assert "$" not in figures(stranger, live_site)
    for model in ("customer", "quote", "job", "invoice", "payment"):
        stranger.goto(f"{live_site}/admin/crm/{model}/")
        text = stranger.locator("body").inner_text()
        assert "Lovelace" not in text
        assert "00001" not in text
    for address in (customer, quote, invoice):
        stranger.goto(address)
        assert "exist" in stranger.locator("body").inner_text()


def press_link(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.get_by_role("link", name=name).first.click()
