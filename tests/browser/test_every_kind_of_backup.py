"""Every kind of backup of the Northwind account's database: taken, verified and proven by pages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import DjangoDbBlocker

from ops.models import Backup
from ops.postgres.embedded import EmbeddedServer
from tests.browser.operations import answer, outcome, press, problems, sign_in, worker
from tests.crm.imports.northwind import import_all, needs_northwind
from tests.factories import make_business
from tests.harness import database, run
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.conftest import Backups, backups
from tests.ops.backups.replicating import replicating_server

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "replicating_server", "worker"]
pytestmark = needs_northwind
LOGICAL: dict[str, dict[str, str]] = {
    "full": {},
    "schema": {},
    "data": {},
    "tables": {"tables": "customers\ninvoice*"},
}
CHOSEN = (
    "customers",
    "invoice_lines",
    "invoice_lines_history",
    "invoices",
    "invoices_history",
)
PHYSICAL = ("base", "incremental")
OLD = 170_000


def is_old() -> bool:
    """Whether the server can't be copied: it is given, and too old for base backups."""
    with database.connect() as connection:
        return connection.info.server_version < OLD


@pytest.fixture(scope="module", autouse=True)
def _server_of_its_own(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Stay away from the run's server: base backups would hold others' databases and writes."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as changed:
        if not is_old():
            server: EmbeddedServer = request.getfixturevalue("replicating_server")
            changed.setenv(run.ADMIN_URL, f"postgres://postgres@/postgres?host={server.socket}")
        yield


@pytest.fixture
def northwind(backups: Backups) -> Backups:
    """An installation with the whole Northwind account, and two files somebody uploaded."""
    with by_default_login():
        import_all(make_business("Northwind"))
    folder = backups.var / "media" / "photos"
    folder.mkdir(parents=True)
    (folder / "before.jpg").write_bytes(b"\xff\xd8" + bytes(range(256)) * 400)
    (folder / "after.jpg").write_bytes(b"")
    return backups


@pytest.mark.simulation
def test_every_kind_is_taken_verified_and_proven_from_its_page(
    northwind: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    platform_administrator()
    site = f"{live_site}/admin/ops/backup/"
    sign_in(page, live_site)

    def take(kind: str, **answers: str) -> str:
        page.goto(site)
        press(page, "Back up now", kind=kind, **answers)
        return outcome(page)

    def check(kind: str) -> Backup:
        page.get_by_role("link", name="See the backup").click()
        backup = page.url
        for button, state in (("Verify", "VERIFIED"), ("Prove", "PROVEN")):
            press(page, button)
            assert "Done" in outcome(page), kind
            page.goto(backup)
            assert state in answer(page), kind
        return Backup.objects.get(pk=int(backup.split("/")[-3]), kind=kind)

    proven: dict[str, Any] = {}
    for kind, answers in {**LOGICAL, "media": {}}.items():
        assert "is taken" in take(kind, **answers), kind
        proven[kind] = check(kind)
    for kind in PHYSICAL:
        said = take(kind)
        if is_old():
            assert "Failed" in said
            assert "need PostgreSQL 17 or newer; this server is" in said
        else:
            assert "is taken" in said, kind
            proven[kind] = check(kind)

    # Northwind's own numbers, from the invoices' lines to the customers.
    rows = {each["name"]: each["rows"] for each in proven["full"].manifest["proof"]["tables"]}
    assert (rows["customers"], rows["invoices"], rows["invoice_lines"]) == (91, 830, 2155)
    chosen = {each["name"]: each["rows"] for each in proven["tables"].manifest["proof"]["tables"]}
    assert chosen == {name: rows[name] for name in CHOSEN}
    assert proven["media"].manifest["details"]["files"] == 2
    if not is_old():
        assert proven["incremental"].parent == proven["base"]
    page.goto(site)
    assert "Restorable to today" in answer(page)
    states = page.locator("#result_list .field-standing").all_inner_texts()
    assert len(states) == len(proven)
    assert all("PROVEN" in state for state in states)
    assert problems == []
