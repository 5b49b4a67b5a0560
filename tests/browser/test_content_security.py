"""No page asks the browser for something that the content security policy refuses."""

from typing import TYPE_CHECKING

from tests.factories import make_business

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = ("", "crm/customer/", "crm/customer/add/", "crm/invoice/add/", "crm/job/", "two-factor/")


def test_nothing_on_the_pages_is_refused(live_site: str, page: "Page") -> None:
    owner = make_business()
    refused: list[str] = []
    page.on(
        "console",
        lambda message: (
            refused.append(f"{page.url}: {message.text}") if message.type == "error" else None
        ),
    )
    page.on("pageerror", lambda error: refused.append(f"{page.url}: {error}"))
    page.goto(f"{live_site}/admin/login/")
    page.fill("[name=username]", owner.email)
    page.fill("[name=password]", "a long pass phrase")
    page.click("button[type=submit]:has-text('Log in')")
    page.wait_for_url(f"{live_site}/admin/")
    for path in PAGES:
        page.goto(f"{live_site}/admin/{path}")
        page.wait_for_load_state("networkidle")
    assert refused == []


def test_an_inline_script_does_not_run(live_site: str, page: "Page") -> None:
    page.goto(f"{live_site}/admin/login/")
    ran = page.evaluate(
        """() => {
            window.ran = [];
            const script = document.createElement("script");
            script.textContent = "window.ran.push('script')";
            document.body.append(script);
            const button = document.createElement("button");
            button.setAttribute("onclick", "window.ran.push('attribute')");
            document.body.append(button);
            button.click();
            return window.ran;
        }"""
    )
    assert ran == []
