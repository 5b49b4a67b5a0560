"""A media backup's page brings uploaded files back, and the run's page takes that back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from pytest_django import Settings

from ops.background import carry_out
from ops.models import Backup, Run, RunKind, RunStatus
from ops.rls.router import as_owner_by_default
from tests.ops.admin.rows import Browser
from tests.ops.backups.conftest import Backups
from tests.ops.restores.uploads import FILES, Uploads

TODAY = {**FILES, "a.txt": b"of today", "new.txt": b"uploaded since"}


@pytest.fixture
def uploads(tmp_path: Path, settings: Settings) -> Uploads:
    """Return a folder of uploaded files, with some in it."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    found = Uploads(tmp_path / "media")
    found.put(FILES)
    return found


def press(browser: Browser, pressed: str, row: Any, **answers: str) -> Run | None:
    """Press a button and let the worker do what it asked for; None when it was refused."""
    with as_owner_by_default():
        before = Run.objects.count()
    answer = browser.post(reverse(f"admin:ops_{pressed}", args=[row.pk]), answers)
    with as_owner_by_default():
        if Run.objects.count() == before:
            assert answer.status_code == 200
            return None
        run = Run.objects.latest("pk")
        carry_out.func(run.asked_by_user_id, run.pk)
        run.refresh_from_db()
        assert run.status == RunStatus.DONE, run.message
        return run


def offered(browser: Browser, row: Backup) -> list[str]:
    page = browser.get(reverse("admin:ops_backup_change", args=[row.pk]))
    return [button["title"] for button in page.context["uses"]]


def test_preview_restore_and_undo(backups: Backups, uploads: Uploads, browser: Browser) -> None:
    backup, full = backups.take(kind="media"), backups.take(kind="schema")
    uploads.put(TODAY)
    (uploads.folder / "jobs/1/photo.jpg").unlink()
    before = uploads.all()
    assert offered(browser, backup) == ["Preview files", "Restore files…"]
    assert "Restore files…" not in offered(browser, full)
    assert browser.get(reverse("admin:ops_restore_changelist")).context["media_backup"] == backup

    looked = press(browser, "backup_preview_files", backup)
    assert looked is not None
    page = browser.get(reverse("admin:ops_run_change", args=[looked.pk]))
    shown = {each["title"]: each["names"] for each in page.context["uploads"]}
    assert shown == {
        "Missing here": ["jobs/1/photo.jpg"],
        "Different here": ["a.txt"],
        "Not in the backup": ["new.txt"],
    }
    assert uploads.all() == before

    name = backups.database
    assert press(browser, "backup_restore_files", backup, name="wrong") is None
    both = {"name": name, "only_missing": "on", "exact": "on"}
    assert press(browser, "backup_restore_files", backup, **both) is None
    assert uploads.all() == before
    done = press(browser, "backup_restore_files", backup, name=name, exact="on")
    assert done is not None
    assert (done.kind, uploads.all()) == (RunKind.RESTORE, FILES)

    page = browser.get(reverse("admin:ops_run_change", args=[done.pk]))
    assert "Undo" in [each["title"] for each in page.context["actions_detail"]]
    undone = press(browser, "run_undo_uploads", done, name=name)
    assert undone is not None
    assert (undone.kind, uploads.all()) == (RunKind.UNDO, before)
