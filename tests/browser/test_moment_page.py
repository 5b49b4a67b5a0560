"""Any moment: chosen in the wizard, proven beside the live database, swapped in and undone."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.utils import timezone

from ops.backups.wal.slot import drop_slot
from ops.models import BackupKind, Restore, RestoreState
from ops.postgres.endpoint import Endpoint
from tests.browser.operations import answer, outcome, press, problems, sign_in, step, worker
from tests.factories import make_business
from tests.harness import database
from tests.ops.admin.rows import by_default_login, platform_administrator
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import Backups, backups
from tests.ops.backups.replicating import replicating_server, server_of_a_module

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["backups", "problems", "replicating_server", "worker"]
server = server_of_a_module()


@pytest.fixture
def archived(backups: Backups) -> Iterator[Backups]:
    """An installation with a business, whose server's WAL is archived from a base on."""
    database.provide_template(backups.database)
    with by_default_login():
        make_business("Before")
    platform_administrator()
    receive()
    backups.take(kind=BackupKind.BASE)
    yield backups
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


def business(archived: Backups) -> str:
    with archived.connect() as connection:
        row = connection.execute("SELECT name FROM accounts").fetchone()
    assert row is not None
    return str(row[0])


def a_whole_second() -> datetime:
    """Wait for one, as the page's field takes them, and until it has passed."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    time.sleep((moment - datetime.now(UTC)).total_seconds() + 0.01)
    return moment


@pytest.mark.long
def test_a_moment_comes_back_by_the_wizard_and_is_undone(
    archived: Backups,
    live_site: str,
    page: Page,
    problems: list[str],
    worker: subprocess.Popen[str],
) -> None:
    moment = a_whole_second()
    archived.execute("UPDATE accounts SET name = 'After'")
    receive()

    sign_in(page, live_site)
    page.goto(f"{live_site}/admin/ops/restore/")
    assert "Restorable to " in answer(page)
    page.locator("#header-inner").get_by_role("link", name="Restore…").click()
    step(page, "A moment: ")
    # A time before all WAL is refused on the page, with where one can go instead.
    local = timezone.localtime(moment)
    step(page, "A moment of my choice", at=f"{local - timedelta(days=900):%Y-%m-%dT%H:%M:%S}")
    assert "The nearest moment that can be restored is" in page.locator(".ops-form").inner_text()
    step(page, "A moment of my choice", at=f"{local:%Y-%m-%dT%H:%M:%S}")
    step(page)  # with a backup of what is replaced
    assert "Whatever was written since" in page.locator(".ops-facts").inner_text()
    page.get_by_role("link", name="Next").click()
    page.fill("[name=name]", archived.database)
    page.get_by_role("button", name="Restore").click()
    assert "Done" in outcome(page)

    assert business(archived) == "Before"
    connections.close_all()  # the swap has ended this session
    row = Restore.objects.get(state=RestoreState.SWAPPED)
    assert f"{moment:%Y-%m-%d %H:%M:%S}" in row.origin
    page.get_by_role("link", name=re.compile("The restore$")).click()
    press(page, "Undo", name=archived.database)
    assert "Done" in outcome(page)
    assert business(archived) == "After"
    assert problems == []
