"""Accounts as files on pages: who may, what is recorded, what is refused, what is left behind."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live_settings
from django.contrib.auth.models import Group, Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from pytest_django import Settings

from crm.models import AUDITOR_GROUP, PLATFORM_ADMINISTRATOR_GROUP, User
from crm.services.documents import issue_invoice
from ops.admin import arrivals
from ops.models import Run
from ops.restores import approval
from ops.restores.accounts import kept
from ops.restores.accounts.importing import ask_for_import, import_account
from ops.restores.errors import RefusedError
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as, acting_as_admin
from ops.runs import Asker, ask
from tests.factories import A_DAY, make_business, make_customer, make_invoice
from tests.ops.admin.rows import (
    PASSWORD,
    Browser,
    browser_of,
    by_default_login,
    platform_administrator,
    work,
)
from tests.ops.admin.test_pages import words
from tests.ops.backups.conftest import Backups
from tests.ops.restores.accounts import contents, export, rewritten

ADA, NEW = "ada@plumbing.example", "new@plumbing.example"
EXPORT, UPLOAD = "/admin/ops/restore/export-account/", "/admin/ops/restore/accounts/import/"
DAMAGED = "The archive is damaged, or was edited: "


@pytest.fixture
def account(backups: Backups) -> str:
    """Return the e-mail address of an account with a customer and an issued invoice."""
    with by_default_login():
        owner = make_business("Ada's Plumbing", email=ADA)
        with acting_as(owner, via="test"):
            customer = make_customer(company_name="Größe & Söhne")
            issue_invoice(invoice=make_invoice(customer, "10", issue_date=A_DAY), by=owner)
    return ADA


@pytest.fixture
def archive(account: str, tmp_path: Path) -> Path:
    return export(account, tmp_path / "ada.tar").path


def files(backups: Backups) -> list[Path]:
    """Everything that pages have kept of accounts, unfinished files included."""
    return [path for path in (backups.var / "accounts").rglob("*") if path.is_file()]


def there(backups: Backups) -> dict[str, Any]:
    """The businesses' data; signing in and working alone change other tables."""
    with backups.connect() as server:
        found = contents(server)
    ours = ("accounts", "customers", "invoices", "users_groups", "document_counters")
    return {name: value for name, value in found.items() if name.startswith(ours)}


def runs(kind: str) -> list[Run]:
    with as_owner_by_default():
        return list(Run.objects.filter(kind=kind).order_by("pk"))


def exported(browser: Browser, account: str) -> Run:
    """Ask for an export by the page, and let the worker do it."""
    answer = browser.post(EXPORT, {"account": account, "encrypted": "on"})
    assert answer.status_code == 302, words(answer)
    work()
    run = runs("export")[-1]
    assert run.status == "done", run.message
    return run


def upload(browser: Browser, content: bytes, **more: str) -> Any:
    sent = SimpleUploadedFile("ada.tar", content, "application/x-tar")
    return browser.post(UPLOAD, {"archive": sent, **more})


def looked_at(browser: Browser, content: bytes, **more: str) -> Run:
    """Upload an archive, and let the worker look at it."""
    answer = upload(browser, content, **more)
    assert answer.status_code == 302, words(answer)
    work()
    run = runs("import")[-1]
    assert answer["Location"] == page_of(run)
    return run


def page_of(run: Run) -> str:
    return reverse("admin:ops_run_change", args=[run.pk])


def button(run: Run, name: str) -> str:
    return reverse(f"admin:ops_run_{name}", args=[run.pk])


def offered(browser: Browser, run: Run) -> list[str]:
    return [each["title"] for each in browser.get(page_of(run)).context["actions_detail"]]


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(map(str, found)) for name, found in answer.context["form"].errors.items()}


def age(path: Path, **past: float) -> None:
    moment = (timezone.now() - timedelta(**past)).timestamp()
    os.utime(path, (moment, moment))


# --- export ---------------------------------------------------------------------------------------


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


def test_a_row_that_names_another_file_opens_none(browser: Browser, backups: Backups) -> None:
    secret = backups.var / "secret.tar"
    backups.var.mkdir(exist_ok=True)
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


# --- import ---------------------------------------------------------------------------------------


def test_an_archive_is_looked_at_and_imported_when_its_address_is_typed(
    browser: Browser, backups: Backups, archive: Path
) -> None:
    before = there(backups)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    assert (look.status, look.subject, look.result["email"]) == ("done", "ada.tar", NEW)
    assert there(backups) == before
    text = words(browser.get(page_of(look)))
    assert f"What would come in Owner signs in with {NEW} In the archive {ADA}" in text
    assert "customers 1" in text
    assert offered(browser, look) == ["Import…", "Another address…", "Discard"]
    wrong = browser.post(button(look, "import_account"), {"email": ADA})
    assert errors(wrong) == {
        "email": ["This is not the account's e-mail address. Nothing was begun."]
    }
    assert len(runs("import")) == 1
    answer = browser.post(button(look, "import_account"), {"email": f" {NEW.upper()} "})
    run = runs("import")[-1]
    assert answer["Location"] == page_of(run)
    assert (run.subject, run.arguments["preview"]) == (f"ada.tar as {NEW}", look.pk)
    assert there(backups) == before  # until the worker has done it
    work()
    run = runs("import")[-1]
    assert run.status == "done", run.message
    assert run.result["rows"] == look.result["rows"]
    after = there(backups)
    for table in ("accounts", "customers", "invoices"):
        assert after[table][0] == 2 * before[table][0]
    with acting_as_admin():
        user = User.objects.get(email=NEW)
        assert (run.result["account"], user.has_usable_password()) == (user.pk, False)
    assert "What came in" in words(browser.get(page_of(run)))
    # It was used: nobody imports it again.
    assert files(backups) == []
    assert offered(browser, look) == []


def bad_archives() -> dict[str, tuple[Callable[[Path, Path], bytes], str]]:
    def newer(archive: Path, folder: Path) -> bytes:
        def change(parts: Any, says: Any) -> None:
            says["format"] = 2

        return rewritten(archive, folder / "newer.tar", change).read_bytes()

    def changed(archive: Path, folder: Path) -> bytes:
        content = bytearray(archive.read_bytes())
        place = content.index("Größe".encode())
        content[place] ^= 1
        return bytes(content)

    return {
        "rubbish": (
            lambda archive, folder: b"GIF89a" * 500,
            f"{DAMAGED}it is no tar that can be read to its end. Nothing was imported.",
        ),
        "nothing": (
            lambda archive, folder: b"",
            f"{DAMAGED}it is no tar that can be read to its end. Nothing was imported.",
        ),
        "cut off": (
            lambda archive, folder: archive.read_bytes()[: archive.stat().st_size // 2],
            DAMAGED,
        ),
        "a changed byte": (changed, f"{DAMAGED}the SHA-256 of tables/public.customers"),
        "a newer format": (
            newer,
            (
                "This archive has format '2'; this version of SRVC reads format 1. Nothing was "
                "imported. Use the version that wrote it, or a newer one."
            ),
        ),
    }


@pytest.mark.parametrize("kind", bad_archives())
def test_a_bad_archive_is_refused_in_the_commands_words_and_not_kept(
    kind: str, browser: Browser, backups: Backups, archive: Path, tmp_path: Path
) -> None:
    make, sentence = bad_archives()[kind]
    before = there(backups)
    run = looked_at(browser, make(archive, tmp_path), as_login=NEW)
    assert (run.status, run.message[: len(sentence)]) == ("failed", sentence)
    assert "Nothing was imported." in run.message
    assert run.message in browser.get(page_of(run)).context["state"]["message"]
    assert there(backups) == before
    assert files(backups) == []
    assert offered(browser, run) == []


def test_a_taken_address_is_told_and_another_one_tried_with_the_same_upload(
    browser: Browser, backups: Backups, archive: Path
) -> None:
    run = looked_at(browser, archive.read_bytes())
    assert (run.status, run.message.partition(";")[0]) == (
        "failed",
        f"Somebody signs in with {ADA} here already",
    )
    assert offered(browser, run) == ["Another address…", "Discard"]
    assert browser.post(button(run, "import_account"), {"email": ADA}).status_code == 302
    assert len(runs("import")) == 1
    text = words(browser.get(page_of(run)))
    assert "The uploaded archive Upload is kept until" in text
    assert "looks at the same file once more, without uploading it again." in text
    browser.post(button(run, "look_again"), {"as_login": NEW})
    work()
    again = runs("import")[-1]
    assert (again.status, again.result["email"]) == ("done", NEW)
    assert browser.get(page_of(again)).context["title"] == "Preview of account ada.tar"
    assert again.arguments["path"] == run.arguments["path"]


def test_an_upload_is_discarded_by_its_button(
    browser: Browser, backups: Backups, archive: Path
) -> None:
    run = looked_at(browser, archive.read_bytes(), as_login=NEW)
    assert len(files(backups)) == 1
    browser.post(button(run, "import_account"), {"email": NEW})
    refused = browser.post(button(run, "discard_upload"))
    assert errors(refused)["__all__"] == [
        "An import of this archive waits or is at work. Nothing was removed. Cancel it first."
    ]
    browser.post(button(runs("import")[-1], "cancel"))
    work()
    assert len(files(backups)) == 1
    browser.post(button(run, "discard_upload"))
    assert files(backups) == []
    last = runs("import")[-1]
    assert (last.message, last.asked_by) == (
        "The uploaded archive was discarded.",
        "root@platform.example",
    )


def test_an_upload_nobody_confirmed_goes_and_one_that_waits_to_be_imported_stays(
    browser: Browser, backups: Backups, archive: Path, settings: Settings
) -> None:
    settings.ACCOUNT_ARCHIVE_HOURS = 1
    forgotten = looked_at(browser, archive.read_bytes(), as_login="one@plumbing.example")
    wanted = looked_at(browser, archive.read_bytes(), as_login=NEW)
    browser.post(button(wanted, "import_account"), {"email": NEW})
    (kept.arrivals() / f"left{kept.ARRIVING}").write_bytes(b"of a process that was killed")
    for path in files(backups):
        age(path, hours=1)
    assert offered(browser, forgotten) == []
    # The next upload tidies, and so would the watcher.
    assert upload(browser, b"x").status_code == 302
    waiting = runs("import")[-1].arguments["path"]
    assert sorted(map(str, files(backups))) == sorted([wanted.arguments["path"], waiting])
    work()
    assert [run.status for run in runs("import")] == ["done", "done", "done", "failed"]
    assert files(backups) == []


def test_a_file_beyond_the_limit_is_refused_and_nothing_of_it_kept(
    browser: Browser, backups: Backups, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ACCOUNT_ARCHIVE_MAX_BYTES = 300_000
    sentence = (
        "The file has more than 0.3 MB (ACCOUNT_ARCHIVE_MAX_MEGABYTES). Nothing of it was kept. "
        "Import it on the server with `manage.py importaccount`, or allow more."
    )
    # By what the browser says of its request, and by counting what comes.
    assert errors(upload(browser, b"x" * 500_000))["archive"] == [sentence]
    monkeypatch.setattr(arrivals, "_ALONGSIDE", 10**9)
    assert errors(upload(browser, b"x" * 300_001))["archive"] == [sentence]
    assert files(backups) == []
    assert runs("import") == []
    assert upload(browser, b"x" * 300_000).status_code == 302


def test_a_file_arrives_before_the_transaction_and_on_the_disk(
    browser: Browser, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    write = arrivals.ArchiveUpload.receive_data_chunk

    def watched(self: arrivals.ArchiveUpload, raw: bytes, start: int) -> None:
        write(self, raw, start)
        seen.append((connection.in_atomic_block, self.file.tell() - start - len(raw)))

    monkeypatch.setattr(arrivals.ArchiveUpload, "receive_data_chunk", watched)
    with by_default_login():
        assert upload(browser, b"x" * 200_000).status_code == 302
    assert len(seen) > 1
    assert set(seen) == {(False, 0)}
    assert [path.stat().st_size for path in files(backups)] == [200_000]


def test_a_request_of_another_site_leaves_nothing(backups: Backups) -> None:
    strict = browser_of(platform_administrator(), strict=True)
    assert upload(strict, b"x").status_code == 403
    assert files(backups) == []
    assert strict.post(EXPORT, {"account": ADA}).status_code == 403
    assert runs("import") == runs("export") == []


def test_a_form_without_a_file_asks_for_one(browser: Browser) -> None:
    answer = browser.post(UPLOAD, {"as_login": "no address"})
    assert errors(answer) == {
        "archive": ["This field is required."],
        "as_login": ["Enter a valid email address."],
    }


# --- who may --------------------------------------------------------------------------------------


def auditor() -> User:
    """Return an auditor whom somebody gave both rights by mistake."""
    with by_default_login(), acting_as_admin():
        user = User.objects.create_user("auditor@platform.example", PASSWORD)
        user.groups.add(Group.objects.get(name=AUDITOR_GROUP))
        user.user_permissions.add(*Permission.objects.filter(codename__endswith="port_account"))
        return user


def owner() -> User:
    """Return a business's owner with both rights by mistake."""
    with by_default_login():
        user = make_business("Pipes", email="pipes@business.example")
    with by_default_login(), acting_as_admin():
        user.user_permissions.add(*Permission.objects.filter(codename__endswith="port_account"))
    return user


def administrator_without(*codenames: str) -> User:
    person = platform_administrator("some@platform.example", superuser=False)
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        taken = group.permissions.filter(codename__in=codenames)
        assert taken.count() == len(codenames)
        group.permissions.remove(*taken)
    return person


def administrator_without_both() -> User:
    return administrator_without("export_account", "import_account")


@pytest.mark.parametrize("who", [auditor, owner, administrator_without_both])
def test_others_export_download_and_import_nothing(
    who: Callable[[], User], browser: Browser, backups: Backups, archive: Path
) -> None:
    made = exported(browser, ADA)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    kept_files, number = files(backups), (len(runs("export")), len(runs("import")))
    other = browser_of(who())
    urls = [
        EXPORT,
        UPLOAD,
        "/admin/ops/restore/import-account/",
        button(made, "download_archive"),
        *(button(look, name) for name in ("import_account", "look_again", "discard_upload")),
    ]
    for url in urls:
        # A right without being a platform administrator opens the door to nothing behind it.
        opened = 302 if (who, url) == (auditor, urls[2]) else 403
        assert other.get(url).status_code == opened, url
        assert other.post(url, {"account": ADA, "email": NEW}).status_code == opened, url
    assert upload(other, archive.read_bytes()).status_code == 403
    assert files(backups) == kept_files
    assert (len(runs("export")), len(runs("import"))) == number
    assert runs("download") == []


def test_each_right_opens_its_own_part(browser: Browser, archive: Path) -> None:
    made = exported(browser, ADA)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    exporter = browser_of(administrator_without("import_account"))
    listed = exporter.get("/admin/ops/restore/")
    assert [each["title"] for each in listed.context["actions_list"]] == [
        "Restore…",
        "Export account…",
    ]
    assert (offered(exporter, made), offered(exporter, look)) == (["Download"], [])
    assert exporter.get(UPLOAD).status_code == 403
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        rights = Permission.objects.filter(content_type__app_label="ops")
        group.permissions.remove(rights.get(codename="export_account"))
        group.permissions.add(rights.get(codename="import_account"))
    assert exporter.get(EXPORT).status_code == 403
    assert exporter.get(UPLOAD).status_code == 200
    assert offered(exporter, made) == []
    assert offered(exporter, look) == ["Import…", "Another address…", "Discard"]


def test_with_two_persons_an_import_awaits_the_second_and_a_look_does_not(
    browser: Browser, backups: Backups, archive: Path, settings: Settings
) -> None:
    settings.RESTORE_TWO_PERSONS = True
    before = there(backups)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    assert look.status == "done"
    asked = words(browser.get(button(look, "import_account")))
    assert "It begins when a second administrator has approved it." in asked
    browser.post(button(look, "import_account"), {"email": NEW})
    work()
    run = runs("import")[-1]
    assert (run.status, there(backups)) == ("awaiting", before)
    assert offered(browser, run) == ["Cancel"]
    second = browser_of(platform_administrator("grace@platform.example", superuser=False))
    assert offered(second, run) == ["Approve", "Reject", "Cancel"]
    second.post(button(run, "approve"))
    work()
    run = runs("import")[-1]
    assert (run.status, run.approved_by) == ("done", "grace@platform.example")
    assert there(backups)["accounts"][0] == before["accounts"][0] + 1


def test_a_command_waits_for_the_second_person_too(
    backups: Backups, archive: Path, settings: Settings
) -> None:
    settings.RESTORE_TWO_PERSONS = True
    before = there(backups)
    with as_owner_by_default():
        run = ask_for_import(archive, by=Asker("root@db1", "command"), as_login=NEW)
        assert run.status == "awaiting"
        approval.reject(run, by=Asker("grace@platform.example", "admin", 7), reason="not today")
        with pytest.raises(RefusedError) as caught:
            import_account(run)
    assert str(caught.value) == (
        "grace@platform.example did not approve it: not today Nothing was changed."
    )
    assert there(backups) == before
    assert archive.exists()
