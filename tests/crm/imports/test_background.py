"""The worker's part: as whoever asked, seen while it runs, stopped, and killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, connections, transaction
from django_tasks_db.models import DBTaskResult

from crm.errors import CrmError
from crm.imports import background
from crm.imports.uploads import (
    cancel_import,
    look_after,
    queue_import,
    save_upload,
    sources_of,
    take_run_lock,
)
from crm.models import Customer, ImportRun, ImportStatus, User
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from tests.factories import account_of, make_business

pytestmark = pytest.mark.usefixtures("fresh_database")


def upload(owner: User, content: bytes, kind: str = "customers") -> ImportRun:
    with acting_as(owner):
        return save_upload(
            account=account_of(owner),
            kind=kind,
            files=[SimpleUploadedFile("a.csv", content)],
            by=owner,
        )


def queued(owner: User, content: bytes) -> ImportRun:
    run = upload(owner, content)
    with acting_as(owner):
        queue_import(run=run, by=owner)
    return run


def work() -> None:
    call_command(
        "db_worker", batch=True, interval=0, startup_delay=False, reload=False, verbosity=0
    )


def now(owner: User, run: ImportRun) -> ImportRun:
    with acting_as(owner):
        return ImportRun.objects.get(pk=run.pk)


def customers(owner: User) -> int:
    with acting_as(owner):
        return Customer.objects.count()


@pytest.fixture(autouse=True)
def _signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_tasks_db.management.commands.db_worker import Worker

    monkeypatch.setattr(Worker, "configure_signals", lambda self: None)


def test_the_worker_imports_as_whoever_asked() -> None:
    owner = make_business()
    run = queued(owner, b"Name,Email\nAda,ada@example.com\nBob,\nAda,ADA@example.com\n")
    assert now(owner, run).status == ImportStatus.QUEUED
    work()
    run = now(owner, run)
    assert (run.status, run.rows_created, run.rows_skipped) == (ImportStatus.DONE, 2, 1)
    assert run.message == "Imported 2 customers. 1 were there already (1 by e-mail)."
    assert bytes(run.content) == b""
    with acting_as(owner):
        event = Customer.objects.get(first_name="Bob").history.get()  # type: ignore[attr-defined]
        assert (event.changed_by_id, event.changed_role) == (owner.pk, "srvc_member")
        assert event.changed_via == f"import {run.pk}"
        with pytest.raises(CrmError, match="uploaded file is gone"):
            sources_of(run)


def test_a_refused_file_tells_its_lines() -> None:
    owner = make_business()
    run = queued(owner, b"Name,Email\nAda,x\n")
    work()
    run = now(owner, run)
    assert (run.status, customers(owner)) == (ImportStatus.REFUSED, 0)
    assert run.problems == [
        {"line": 2, "column": "Email", "file": "", "text": "“x” is no e-mail address."}
    ]
    assert run.message.startswith("1 problem found. Nothing was imported")


def test_somebody_who_may_not_sign_in_any_more_imports_nothing() -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")
    with acting_as_admin():
        User.objects.filter(pk=owner.pk).update(is_active=False)
    work()
    with acting_as_admin():
        assert not Customer.objects.exists()
        assert ImportRun.objects.get(pk=run.pk).status == ImportStatus.QUEUED
    with acting_as_login():
        assert "may not sign in any more" in DBTaskResult.objects.get().traceback


def test_a_crash_says_so_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")
    monkeypatch.setattr(background, "done_message", lambda summary: 1 / 0)
    work()
    run = now(owner, run)
    assert (run.status, customers(owner)) == (ImportStatus.REFUSED, 0)
    assert run.message == "The import crashed; see the log. Nothing was imported."


def test_a_queued_import_that_was_cancelled_does_not_start() -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")
    with acting_as(owner):
        cancel_import(run=run, by=owner)
        with pytest.raises(CrmError, match="ended already"):
            cancel_import(run=run, by=owner)
    work()
    assert (now(owner, run).status, customers(owner)) == (ImportStatus.CANCELLED, 0)


def _at_step(monkeypatch: pytest.MonkeyPatch, step: Callable[[int], None]) -> None:
    """Let every progress report come through, and `step` look from outside at each."""
    monkeypatch.setattr(background, "_LOOK_EVERY", 0)
    before = background._Reporter.__call__
    calls = iter(range(10_000))

    def report(self: Any, phase: str, done: int, total: int) -> None:
        _elsewhere(lambda: step(next(calls)))
        before(self, phase, done, total)

    monkeypatch.setattr(background._Reporter, "__call__", report)


def _elsewhere(look: Callable[[], None]) -> None:
    """Run a function on a thread and connections of its own, as another process would."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            look()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_progress_is_seen_while_the_rows_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\n" + b"".join(b"Customer %d\n" % n for n in range(12_000)))
    seen: list[tuple[str, str, int]] = []

    def look(call: int) -> None:
        state = now(owner, run)
        seen.append((state.status, state.message, state.rows_done))
        assert customers(owner) == 0

    _at_step(monkeypatch, look)
    work()
    assert {status for status, _, _ in seen} == {"running"}
    assert ("running", "Reading", 0) in seen
    assert ("running", "Writing", 10_000) in seen
    assert (now(owner, run).status, customers(owner)) == ("done", 12_000)


def test_a_running_import_is_cancelled_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\n" + b"".join(b"Customer %d\n" % n for n in range(12_000)))

    def cancel(call: int) -> None:
        if now(owner, run).message == "Writing" and now(owner, run).status == "running":
            with acting_as(owner):
                cancel_import(run=run, by=owner)

    _at_step(monkeypatch, cancel)
    work()
    run = now(owner, run)
    assert (run.status, run.message) == ("cancelled", "Cancelled. Nothing was imported.")
    assert customers(owner) == 0


def test_a_cancel_in_the_last_moment_still_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")
    told = background.done_message

    def cancel(summary: Any) -> str:
        def elsewhere() -> None:
            with acting_as(owner):
                cancel_import(run=run, by=owner)

        _elsewhere(elsewhere)
        return told(summary)

    monkeypatch.setattr(background, "done_message", cancel)
    work()
    assert (now(owner, run).status, customers(owner)) == ("cancelled", 0)


def test_a_worker_that_died_is_noticed_on_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")

    def die(summary: Any) -> str:
        # What kill -9 looks like from the database: the session ends in mid-transaction.
        connection.connection.close()
        raise SystemExit

    monkeypatch.setattr(background, "done_message", die)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - however the worker ends
        background.import_uploaded.call(user_id=owner.pk, run_id=run.pk)
    connection.close()
    assert now(owner, run).status == ImportStatus.RUNNING
    _until_nobody_holds(owner, run)
    run = now(owner, run)
    with acting_as(owner):
        look_after(run=run)
    assert run.status == ImportStatus.REFUSED
    assert run.message.startswith("The worker stopped in the middle. Nothing was imported")
    assert customers(owner) == 0


def _until_nobody_holds(owner: User, run: ImportRun) -> None:
    for _ in range(100):
        with transaction.atomic():
            if take_run_lock(run.pk, wait=False):
                return
        time.sleep(0.05)
    raise AssertionError("the dead worker's lock is still held")


def test_a_worker_at_work_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    run = queued(owner, b"Name\nAda\n")

    def look(call: int) -> None:
        state = now(owner, run)
        with acting_as(owner):
            look_after(run=state)
        assert state.status == ImportStatus.RUNNING

    _at_step(monkeypatch, look)
    work()
    assert now(owner, run).status == ImportStatus.DONE


def test_another_account_neither_sees_nor_stops_it() -> None:
    owner, stranger = make_business(), make_business()
    run = queued(owner, b"Name\nAda\n")
    with acting_as(stranger):
        assert not ImportRun.objects.exists()
        with pytest.raises(CrmError, match="ended already"):
            cancel_import(run=run, by=stranger)
    work()
    assert (now(owner, run).status, customers(owner), customers(stranger)) == ("done", 1, 0)
