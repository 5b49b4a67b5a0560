"""An archive is looked at and imported on pages; what is refused, and what is left behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import RequestFactory
from pytest_django import Settings

from crm.models import User
from ops.admin import arrivals
from ops.restores import approval
from ops.restores.accounts import kept
from ops.restores.accounts.importing import ask_for_import, import_account
from ops.restores.errors import RefusedError
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_login
from ops.runs import Asker
from tests.ops.admin.account_pages import (
    ADA,
    DAMAGED,
    EXPORT,
    NEW,
    UPLOAD,
    account,
    age,
    archive,
    button,
    errors,
    files,
    looked_at,
    offered,
    page_of,
    runs,
    there,
    upload,
)
from tests.ops.admin.rows import (
    Browser,
    browser_of,
    by_default_login,
    platform_administrator,
    work,
)
from tests.ops.admin.test_pages import words
from tests.ops.backups.conftest import Backups
from tests.ops.restores.accounts import rewritten

__all__ = ["account", "archive"]


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
    with acting_as_login():
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
    assert browser.get(page_of(again)).context["title"] == "Preview of ada.tar"
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
    begun = kept.new_export(encrypted=True)
    begun.with_name(f".{begun.name}.1.aside").write_bytes(b"of another one")
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


def test_a_browser_that_goes_away_half_way_leaves_nothing(backups: Backups) -> None:
    seen: list[int] = []

    class Cut(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if piece := super().read(size):
                return piece
            seen.append(len(files(backups)))
            raise OSError("connection reset")

    sent = SimpleUploadedFile("ada.tar", b"x" * 300_000)
    request = RequestFactory().post(UPLOAD, {"archive": sent})
    request._stream = Cut(request.environ["wsgi.input"].read()[:200_000])
    request.user = platform_administrator()
    arrivals.receive(request)
    assert seen == [1]
    assert files(backups) == []
    assert not request.POST


def test_a_form_without_a_file_asks_for_one(browser: Browser) -> None:
    answer = browser.post(UPLOAD, {"as_login": "no address"})
    assert errors(answer) == {
        "archive": ["This field is required."],
        "as_login": ["Enter a valid email address."],
    }


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
