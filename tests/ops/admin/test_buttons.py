"""Every button, from the dialog through the worker to what is in the storage and the record."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from ops.admin import asking
from ops.models import Backup, BackupState, Run
from ops.runs import ask_to_cancel
from tests.ops.admin.rows import Browser, browser_of, make_backup, platform_administrator, work
from tests.ops.backups.conftest import ASKER, Backups

HTMX = {"HX-Request": "true"}
WHO = "root@platform.example"


def press(browser: Browser, button: str, backup: Backup | None = None, /, **data: Any) -> Any:
    arguments = [] if backup is None else [backup.pk]
    return browser.post(reverse(f"admin:ops_backup_{button}", args=arguments), data)


def newest() -> Run:
    return Run.objects.select_related("backup").newest_first()[0]


def outcome(run: Run) -> tuple[str, str, str, str]:
    run.refresh_from_db()
    return (run.kind, run.status, run.asked_by, run.via)


def test_a_backup_is_taken_verified_proven_pinned_and_deleted(
    backups: Backups, browser: Browser
) -> None:
    answer = press(browser, "take", kind="full", label="by_hand")
    run = newest()
    assert answer["Location"] == reverse("admin:ops_run_change", args=[run.pk])
    assert outcome(run) == ("backup", "queued", WHO, "admin")
    assert backups.stored == []
    work()
    assert outcome(run) == ("backup", "done", WHO, "admin"), run.message
    backup = Backup.objects.get()
    assert run.backup == backup
    assert "-by_hand-" in backup.name
    assert (backup.kind, backup.encryption) == ("full", "age")

    for name, kind, state in (
        ("verify", "verify", BackupState.VERIFIED),
        ("prove", "prove", BackupState.PROVEN),
    ):
        press(browser, name, backup)
        work()
        assert outcome(newest()) == (kind, "done", WHO, "admin"), newest().message
        backup.refresh_from_db()
        assert backup.state == state, backup.state_note

    press(browser, "pin", backup, reason="before the move")
    work()
    backup.refresh_from_db()
    assert (backup.pinned_by, backup.pin_reason) == (WHO, "before the move")
    assert newest().message == "Pinned: before the move"
    press(browser, "delete_it", backup, name=backup.name)
    assert Backup.objects.filter(pk=backup.pk).exists()
    assert Run.objects.filter(kind="delete").count() == 0
    press(browser, "unpin", backup)
    work()
    backup.refresh_from_db()
    assert backup.pinned_at is None

    # The only proven one stays, whatever is typed.
    refused = press(browser, "delete_it", backup, name=backup.name).content.decode()
    assert "the last one of its kind that is proven" in refused
    make_backup(timezone.now() - timedelta(days=1), state=BackupState.PROVEN)
    assert (
        "This is not the backup"
        in press(browser, "delete_it", backup, name="full").content.decode()
    )
    press(browser, "delete_it", backup, name=backup.name)
    assert Backup.objects.filter(pk=backup.pk).exists()
    work()
    assert outcome(newest())[:2] == ("delete", "done"), newest().message
    assert not Backup.objects.filter(pk=backup.pk).exists()
    assert backups.stored == []
    kinds = list(Run.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["backup", "verify", "prove", "pin", "pin", "delete"]


def test_what_another_backup_builds_on_is_not_deleted(browser: Browser) -> None:
    base = make_backup(timezone.now() - timedelta(days=2), kind="base", lsn=0)
    link = make_backup(timezone.now() - timedelta(days=1), kind="incremental", parent=base, lsn=512)
    refused = press(browser, "delete_it", base, name=base.name).content.decode()
    assert f"{link.name} adds to it" in refused
    assert Run.objects.count() == 0


def test_a_download_is_the_object_byte_for_byte_and_recorded(
    backups: Backups, browser: Browser
) -> None:
    backup = backups.take()
    [name] = [each["name"] for each in backup.manifest["objects"]]
    url = reverse("admin:ops_backup_download", args=[backup.pk])
    dialog = browser.get(url, headers=HTMX).content.decode()
    assert "encrypted (age)" in dialog
    assert "hx-post" not in dialog  # htmx would put the file into the dialog
    assert Run.objects.filter(kind="download").count() == 0
    answer = browser.post(url, {"name": name})
    with CaptureQueriesContext(connection) as captured:
        content = b"".join(answer.streaming_content)
    assert len(captured) == 0  # hours of a download keep no connection
    assert content == (backups.folder / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == backup.manifest["objects"][0]["sha256"]
    assert answer["Content-Length"] == str(len(content))
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    run = newest()
    assert outcome(run) == ("download", "done", WHO, "admin")
    assert (run.backup, name in run.message) == (backup, True)


def test_a_download_gives_out_this_backups_objects_only(backups: Backups, browser: Browser) -> None:
    first, second = backups.take(kind="schema"), backups.take(kind="schema")
    for name in (second.manifest["objects"][0]["name"], "manifests", "../../etc/passwd"):
        answer = press(browser, "download", first, name=name)
        assert answer.status_code == 200
        assert "Select a valid choice" in str(answer.context["form"].errors["name"])
    assert Run.objects.filter(kind="download").count() == 0


def test_an_object_that_is_gone_is_told_and_not_recorded(
    backups: Backups, browser: Browser
) -> None:
    backup = backups.take(kind="schema")
    name = backup.manifest["objects"][0]["name"]
    (backups.folder / name).unlink()
    answer = press(browser, "download", backup, name=name).content.decode()
    assert "is not in the storage dbbackup" in answer
    assert Run.objects.filter(kind="download").count() == 0


def test_the_manifest_comes_as_it_is_signed(backups: Backups, browser: Browser) -> None:
    backup = backups.take(kind="schema")
    answer = browser.get(reverse("admin:ops_backup_manifest", args=[backup.pk]))
    assert answer.content == (backups.folder / "manifests" / f"{backup.name}.json").read_bytes()
    assert "attachment" in answer["Content-Disposition"]


def test_what_is_asked_for_already_is_not_asked_for_twice(browser: Browser) -> None:
    press(browser, "take", kind="full", label="")
    again = press(browser, "take", kind="full", label="")
    assert again["Location"] == reverse("admin:ops_run_change", args=[newest().pk])
    assert f"{WHO} asked for this at" in browser.get(again["Location"]).content.decode()
    assert Run.objects.count() == 1
    assert press(browser, "take", kind="schema", label="").status_code == 302


def test_a_run_cancelled_while_it_waits_does_nothing(backups: Backups, browser: Browser) -> None:
    press(browser, "take", kind="full", label="")
    run = newest()
    answer = browser.post(reverse("admin:ops_run_cancel", args=[run.pk]), follow=True)
    assert "It was asked to stop" in answer.content.decode()
    run.refresh_from_db()
    assert run.cancel_asked_by == WHO
    work()
    run.refresh_from_db()
    assert (run.status, run.message) == ("cancelled", "It was cancelled before it began.")
    assert backups.stored == []
    late = browser.post(reverse("admin:ops_run_cancel", args=[run.pk]), follow=True)
    assert "has changed meanwhile" in late.content.decode()


def test_without_a_signing_key_the_dialog_says_so_and_asks_nobody(
    browser: Browser, settings: Settings
) -> None:
    settings.BACKUP_SIGNING_KEY = ""
    answer = press(browser, "take", kind="full", label="").content.decode()
    assert "BACKUP_SIGNING_KEY is not set" in answer
    assert Run.objects.count() == 0


@pytest.mark.parametrize("label", ["a b", "../x", "x" * 61, "ü"])
def test_a_name_no_storage_could_keep_is_refused_at_its_field(browser: Browser, label: str) -> None:
    answer = press(browser, "take", kind="full", label=label)
    assert answer.context["form"].errors["label"]
    assert Run.objects.count() == 0


def test_a_crash_of_the_work_ends_the_run(
    backups: Backups, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    press(browser, "take", kind="full", label="")
    run = newest()
    Run.objects.filter(pk=run.pk).update(arguments={"kind": "full"})  # what no page writes
    work()
    run.refresh_from_db()
    assert run.status == "failed"
    assert run.message == "It crashed; the log says where. Nothing of it was kept."
    assert backups.stored == []


def test_copying_off_site_is_offered_where_there_is_a_second_storage(
    backups: Backups, browser: Browser, settings: Settings
) -> None:
    backup = backups.take(kind="schema")
    assert press(browser, "copy_off_site", backup).status_code == 302
    assert Run.objects.filter(kind="copy").count() == 0
    second = dict(settings.STORAGES["dbbackup"])
    second["OPTIONS"] = {**second["OPTIONS"], "location": str(backups.var / "off-site")}
    settings.STORAGES = {**settings.STORAGES, "dbbackup_copy": second}
    press(browser, "copy_off_site", backup)
    work()
    assert outcome(newest())[:2] == ("copy", "done"), newest().message
    name = backup.manifest["objects"][0]["name"]
    copied = backups.var / "off-site" / name
    assert copied.read_bytes() == (backups.folder / name).read_bytes()
    page = browser.get(reverse("admin:ops_backup_change", args=[backup.pk])).content.decode()
    assert "Off-site copy in dbbackup_copy" in page
    assert "off-site" in browser.get(reverse("admin:ops_backup_changelist")).content.decode()


def test_a_run_that_somebody_wants_stopped_says_that_it_is_stopping(browser: Browser) -> None:
    press(browser, "take", kind="full", label="")
    run = newest()
    Run.objects.filter(pk=run.pk).update(
        status="running", started_at=timezone.now(), seen_at=timezone.now()
    )
    ask_to_cancel(run, by=ASKER.name)
    state = browser.get(reverse("admin:ops_run_status", args=[run.pk])).json()
    assert (state["phase"], state["stopping"], state["at_work"]) == ("Stopping", True, True)


def test_tables_are_asked_for_where_they_count(backups: Backups, browser: Browser) -> None:
    def refusal(tables: str) -> str:
        answer = press(browser, "take", kind="tables", tables=tables)
        assert Run.objects.count() == 0
        return str(answer.context["form"].errors["tables"][0])

    assert refusal(" \n") == "Name one table at least."
    assert refusal('customers\n"Odd').startswith("'\"Odd' is no table's name. Nothing was taken.")
    press(browser, "take", kind="tables", tables=' customers \r\n\r\npublic."jobs"')
    assert newest().arguments["tables"] == ["customers", 'public."jobs"']
    # Left over from a kind that was chosen before.
    press(browser, "take", kind="schema", tables="customers")
    assert newest().arguments["tables"] == []


@pytest.mark.parametrize("button", ["take", "verify", "pin"])
def test_two_presses_at_the_same_moment_ask_once(
    backups: Backups, browser: Browser, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    backup = None if button == "take" else make_backup(timezone.now())
    data = {"take": {"kind": "full", "label": ""}, "pin": {"reason": "the move"}}.get(button, {})
    browsers = [browser, browser_of(platform_administrator("second@platform.example"))]
    both = threading.Barrier(2)
    find = asking._under_way

    def found(*arguments: Any) -> Run | None:
        under_way = find(*arguments)
        # Without a lock both have looked before either has asked; with one, nobody else comes.
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)
        return under_way

    monkeypatch.setattr(asking, "_under_way", found)
    answers: list[Any] = []

    def pressed(by: Browser) -> None:
        try:
            answers.append(press(by, button, backup, **data))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=pressed, args=(each,)) for each in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = Run.objects.exclude(kind="download").get()
    assert {answer["Location"] for answer in answers} == {
        reverse("admin:ops_run_change", args=[run.pk])
    }
