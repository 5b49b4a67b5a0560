"""An installation that takes real backups, and the platform administrator's browser."""

from __future__ import annotations

import pytest

from tests.ops.admin.rows import Browser, browser_of, platform_administrator
from tests.ops.backups.conftest import Backups, backups

__all__ = ["backups"]


@pytest.fixture
def browser(backups: Backups) -> Browser:
    """Return a platform administrator's browser."""
    return browser_of(platform_administrator())


@pytest.fixture(autouse=True)
def _signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_tasks_db.management.commands.db_worker import Worker

    monkeypatch.setattr(Worker, "configure_signals", lambda self: None)
