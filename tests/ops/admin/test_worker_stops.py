"""A worker that is asked to stop ends its backup in order, however long that would have taken."""

from __future__ import annotations

import signal
import time

from django.urls import reverse

from ops.background import QUEUE
from ops.models import Run
from tests.ops.admin.rows import Browser
from tests.ops.backups.conftest import Backups


def wait_for(run: Run, status: str) -> None:
    for _ in range(600):
        run.refresh_from_db()
        if run.status == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"it is {run.status} ({run.message}), never {status}")


def test_a_worker_that_is_stopped_cancels_what_it_does(backups: Backups, browser: Browser) -> None:
    browser.post(reverse("admin:ops_backup_take"), {"kind": "full", "label": ""})
    run = Run.objects.get()
    with backups.connect() as connection, connection.transaction():
        # The backup waits for this lock, so it is surely in the middle.
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        worker = backups.manage(
            "db_worker", "--queue-name", QUEUE, "--no-startup-delay", "--no-reload"
        )
        try:
            wait_for(run, "running")
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        finally:
            worker.kill()
        wait_for(run, "cancelled")
    assert worker.returncode == 0
    assert run.message == "It was cancelled. Nothing of it was kept."
    assert backups.stored == []
