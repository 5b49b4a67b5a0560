"""An account is exported by the worker, and downloaded for a time, with a record of who did."""

from __future__ import annotations

import re
import tarfile
import time
from datetime import timedelta

import pytest
from django.conf import settings as live_settings
from django.utils import timezone
from django.utils.module_loading import import_string
from pytest_django import Settings

from ops.models import Run
from ops.progress import CancelledError, Counter
from ops.restores.accounts import kept
from ops.restores.accounts.exporting import export_account
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, ask, close_dead_runs
from tests.ops.admin.account_pages import (
    ADA,
    EXPORT,
    account,
    age,
    button,
    errors,
    exported,
    files,
    offered,
    page_of,
    runs,
    there,
)
from tests.ops.admin.rows import (
    Browser,
    work,
)
from tests.ops.admin.test_pages import words
from tests.ops.backups.conftest import Backups

__all__ = ["account"]


def test_an_account_is_exported_and_its_download_is_recorded(
    browser: Browser, backups: Backups, account: str
) -> None:
    before = there(backups)
    run = exported(browser, account)
    assert there(backups) == before
    [path] = files(backups)
    assert str(path) == run.arguments["path"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert run.result["email"] == ADA
    assert run.result["rows"]["public.customers"] == before["customers"][0] == 1
    assert run.result["encrypted"] is True
    assert run.message == (
        f"{sum(run.result['rows'].values())} rows of {len(run.result['rows'])} tables are in the "
        "archive."
    )
    assert offered(browser, run) == ["Download"]
    text = words(browser.get(page_of(run)))
    assert "What is in the archive Owner signs in with ada@plumbing.example" in text
    assert re.search(r"Can be downloaded until \d{4}-\d\d-\d\d", text)
    # Asking is no download.
    assert "It is recorded that you downloaded it." in words(
        browser.get(button(run, "download_archive"))
    )
    assert runs("download") == []
    answer = browser.post(button(run, "download_archive"))
    content = b"".join(answer.streaming_content)
    assert content == path.read_bytes()
    assert content.startswith(b"age-encryption.org/")
    name = f"{ADA}-{timezone.localtime(run.finished_at):%Y-%m-%d}.tar.age"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "no-store" in answer["Cache-Control"]
    [record] = runs("download")
    assert (record.subject, record.asked_by, record.via, record.status) == (
        f"account {ADA}",
        "root@platform.example",
        "admin",
        "done",
    )
    assert re.fullmatch(re.escape(name) + r" \([\d.]+ KB\) was sent\.", record.message)


def test_an_address_of_no_account_is_refused_before_anything_is_asked_for(
    browser: Browser, account: str
) -> None:
    answer = browser.post(EXPORT, {"account": "nobody@plumbing.example"})
    [sentence] = errors(answer)["account"]
    assert sentence == (
        "There is no account 'nobody@plumbing.example' here. Nothing was written. Name the e-mail "
        "address of its owner."
    )
    assert runs("export") == []


def test_pressed_twice_it_is_one_export(browser: Browser, account: str) -> None:
    first, second = (browser.post(EXPORT, {"account": account}) for _ in range(2))
    assert first["Location"] == second["Location"]
    assert len(runs("export")) == 1


def test_an_export_cancelled_before_it_begins_leaves_no_file(
    browser: Browser, backups: Backups, account: str
) -> None:
    browser.post(EXPORT, {"account": account})
    [run] = runs("export")
    browser.post(button(run, "cancel"))
    work()
    assert runs("export")[0].status == "cancelled"
    assert files(backups) == []


def test_an_export_cancelled_while_it_writes_leaves_no_file(
    browser: Browser, backups: Backups, account: str
) -> None:
    browser.post(EXPORT, {"account": account})
    [run] = runs("export")
    seen: list[int] = []

    class Cancelling(Counter):
        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            super().phase(name, total, unit)
            if name == "writing the archive":
                seen.append(len(files(backups)))
                browser.post(button(run, "cancel"))
                for _ in range(2):  # signs of life: with one of them the run reads the wish
                    self.wait_for_a_sign()

        def wait_for_a_sign(self) -> None:
            [before], deadline = runs("export"), time.monotonic() + 30
            while runs("export")[0].seen_at == before.seen_at and time.monotonic() < deadline:
                time.sleep(0.05)

    with as_owner_by_default(), pytest.raises(CancelledError):
        export_account(run, Cancelling())
    assert seen == [1]
    assert (runs("export")[0].status, files(backups)) == ("cancelled", [])


def test_without_a_key_it_is_not_encrypted_and_that_is_said(
    browser: Browser, backups: Backups, account: str, settings: Settings
) -> None:
    settings.BACKUP_AGE_RECIPIENTS = []
    asked = browser.get(EXPORT)
    assert "It is not encrypted, for BACKUP_AGE_RECIPIENTS is not set." in words(asked)
    run = exported(browser, account)
    assert tarfile.is_tarfile(run.arguments["path"])
    assert "It is not encrypted: whoever has the file can read it." in words(
        browser.get(button(run, "download_archive"))
    )


def test_an_export_whose_time_is_up_is_sent_to_nobody_and_removed(
    browser: Browser, backups: Backups, account: str, settings: Settings
) -> None:
    settings.ACCOUNT_ARCHIVE_HOURS = 2
    run = exported(browser, account)
    [path] = files(backups)
    age(path, hours=1, minutes=59)
    assert kept.tidy(timezone.now()) == 0
    assert offered(browser, run) == ["Download"]
    age(path, hours=2)
    assert offered(browser, run) == []
    answer = browser.post(button(run, "download_archive"), follow=True)
    assert "has changed meanwhile. Nothing was changed." in answer.content.decode()
    assert runs("download") == []
    # As the watcher does, whatever its other work.
    for each in live_settings.WATCHER_TIDIES:
        import_string(each)(timezone.now())
    assert files(backups) == []


def test_an_export_whose_process_died_says_what_that_means(backups: Backups) -> None:
    with as_owner_by_default():
        run = ask("export", ADA, by=Asker("ada", "test"))
        silent = timezone.now() - timedelta(minutes=5)
        Run.objects.filter(pk=run.pk).update(status="running", seen_at=silent)
        assert close_dead_runs() == 1
        run.refresh_from_db()
    assert run.message == (
        "Its process died without a word (killed, or the machine stopped). No archive was left, "
        "and the account is as it was: an export only reads."
    )


def test_a_row_that_names_another_file_opens_none(browser: Browser, backups: Backups) -> None:
    secret = backups.var / "secret.tar"
    secret.write_bytes(b"secret")
    with as_owner_by_default():
        run = ask("export", ADA, by=Asker("eve", "test"), arguments={"path": str(secret)})
        Run.objects.filter(pk=run.pk).update(status="done")
    assert offered(browser, run) == []
    answer = browser.post(button(run, "download_archive"))
    assert (answer.status_code, answer["Location"]) == (302, page_of(run))
    age(secret, days=400)
    kept.tidy(timezone.now())
    kept.drop(secret)
    assert secret.read_bytes() == b"secret"
