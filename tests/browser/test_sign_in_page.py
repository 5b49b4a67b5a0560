"""The sign-in page in a real browser."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page


def test_nothing_it_loads_is_refused_by_the_content_security_policy(
    page: "Page", live_site: str
) -> None:
    problems: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if "Content Security Policy" in message.text:
            problems.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{live_site}/admin/login/")
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("button", name="Log in").is_visible()
    assert problems == []
