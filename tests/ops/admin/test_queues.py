"""Operations wait in a queue of their own: an hour's backup keeps no import waiting."""

from __future__ import annotations

import pytest
from django.urls import reverse

from ops.models import Run
from ops.rls.router import as_owner_by_default
from tests.ops.admin.rows import Browser, browser_of, platform_administrator, work

pytestmark = pytest.mark.usefixtures("fresh_database")


@pytest.fixture
def browser() -> Browser:
    return browser_of(platform_administrator())


def test_the_worker_that_imports_leaves_operations_alone(browser: Browser) -> None:
    browser.post(reverse("admin:ops_backup_take"), {"kind": "schema", "label": ""})
    work(queue="default")
    with as_owner_by_default():
        run = Run.objects.get()
        assert run.status == "queued"
        Run.objects.update(cancel_asked_at=run.asked_at)  # so that nothing has to be taken here
        work()
        run.refresh_from_db()
    assert run.status == "cancelled"
