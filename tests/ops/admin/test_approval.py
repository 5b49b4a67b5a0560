"""Two persons: what changes live data waits until somebody else than who asked says yes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from crm.models import User
from ops.background import queue
from ops.errors import OpsError
from ops.models import Run, RunStatus
from ops.progress import CancelledError, Counter
from ops.restores import approval
from ops.restores.errors import RefusedError
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_admin
from ops.runs import Asker, ask, running
from tests.ops.admin.rows import (
    Browser,
    browser_of,
    by_default_login,
    platform_administrator,
    work,
)
from tests.ops.admin.test_pages import words

pytestmark = pytest.mark.usefixtures("fresh_database")
KINDS = ("restore", "recover", "undo", "import", "export", "drill", "backup")
COMMAND = Asker("root@db1", "command")
GRACE = Asker("grace@platform.example", "admin", 7)


@pytest.fixture(autouse=True)
def _two_persons(settings: Settings) -> None:
    settings.RESTORE_TWO_PERSONS = True


@pytest.fixture
def ada() -> User:
    return platform_administrator("ada@platform.example")


@pytest.fixture
def grace() -> Browser:
    return browser_of(platform_administrator("grace@platform.example", superuser=False))


def asked_by(who: User | Asker, kind: str = "undo", **arguments: Any) -> Run:
    by = who if isinstance(who, Asker) else Asker(who.email, "admin", who.pk)
    with as_owner_by_default():
        return ask(kind, "srvc", by=by, arguments=arguments)


def press(browser: Browser, button: str, run: Run, /, **data: Any) -> Any:
    return browser.post(reverse(f"admin:ops_run_{button}", args=[run.pk]), data, follow=True)


def said(answer: Any) -> str:
    body: str = answer.content.decode()
    return body


def again(run: Run) -> Run:
    with as_owner_by_default():
        run.refresh_from_db()
    return run


def test_what_changes_live_data_awaits_and_what_looks_does_not(settings: Settings) -> None:
    def status(kind: str, **arguments: Any) -> str:
        return asked_by(COMMAND, kind, **arguments).status

    assert {kind: status(kind) for kind in KINDS} == {
        "restore": "awaiting",
        "recover": "awaiting",
        "undo": "awaiting",
        "import": "awaiting",
        "export": "queued",
        "drill": "queued",
        "backup": "queued",
    }
    assert status("recover", dry_run=True) == "queued"
    assert status("import", dry_run=True) == "queued"
    settings.RESTORE_TWO_PERSONS = False
    assert status("restore") == "queued"


def test_nothing_begins_a_run_that_awaits(ada: User, grace: Browser) -> None:
    run = asked_by(ada)
    with as_owner_by_default(), pytest.raises(OpsError, match="awaits the approval"), running(run):
        pass
    with by_default_login():
        queue(run, by=ada)
    work()
    run = again(run)
    assert (run.status, run.started_at, run.message) == ("awaiting", None, "")


def test_who_asked_approves_nothing_by_any_way(ada: User) -> None:
    run = asked_by(ada)
    own = browser_of(ada)
    offered = own.get(reverse("admin:ops_run_change", args=[run.pk])).context["actions_detail"]
    assert [button["title"] for button in offered] == ["Cancel"]
    for button in ("approve", "reject"):
        assert press(own, button, run, reason="").status_code == 403
    # Nor under another number, nor by spelling the address otherwise.
    for by in (Asker("x@platform.example", "admin", ada.pk), Asker(ada.email.upper(), "admin", 7)):
        with as_owner_by_default(), pytest.raises(RefusedError, match="somebody else has to"):
            approval.approve(run, by=by)
    assert again(run).status == "awaiting"


def test_a_second_administrator_lets_it_begin(ada: User, grace: Browser) -> None:
    run = asked_by(ada, recovery=4_711)
    page = grace.get(reverse("admin:ops_run_change", args=[run.pk]))
    assert [button["title"] for button in page.context["actions_detail"]] == [
        "Approve",
        "Reject",
        "Cancel",
    ]
    assert "Awaiting the approval of a second administrator" in words(page)
    answer = press(grace, "approve", run).content.decode()
    assert "It is approved, and begins as soon as the worker is free." in answer
    assert "by grace@platform.example" in answer
    run = again(run)
    assert (run.status, run.approved_by) == ("queued", "grace@platform.example")
    # Decided once: a page that has become stale decides nothing.
    assert "has changed meanwhile" in said(press(grace, "reject", run, reason="late"))
    work()
    run = again(run)
    assert run.status in {"failed", "done"}  # the worker took it: there is no recovery 4,711
    assert "approval" not in run.message


def test_a_rejected_run_ends_before_it_begins(ada: User, grace: Browser) -> None:
    run = asked_by(ada)
    assert "It is rejected." in said(press(grace, "reject", run, reason="the wrong backup"))
    run = again(run)
    assert (run.status, run.message) == (
        "cancelled",
        "grace@platform.example did not approve it: the wrong backup",
    )
    assert (run.started_at, run.approved_by) == (None, "")


def test_who_asked_may_withdraw_it(ada: User) -> None:
    run = asked_by(ada)
    press(browser_of(ada), "cancel", run)
    run = again(run)
    assert (run.status, run.message) == (
        "cancelled",
        "It was cancelled before anybody approved it.",
    )


def waiting(run: Run, progress: Counter) -> tuple[threading.Thread, list[BaseException | None]]:
    """A command that waits for its approval, in a thread of its own."""
    outcome: list[BaseException | None] = []

    def wait() -> None:
        from django.db import connections

        with as_owner_by_default():
            try:
                approval.require(run, progress)
                outcome.append(None)
            except OpsError as error:
                outcome.append(error)
            finally:
                connections.close_all()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, outcome


def once_seen(run: Run) -> Run:
    """The run once its command gave a sign of life."""
    while again(run).seen_at is None:
        threading.Event().wait(0.02)
    return run


def test_a_command_waits_and_goes_on_when_it_is_approved(grace: Browser) -> None:
    run, progress = asked_by(COMMAND), Counter()
    thread, outcome = waiting(Run.objects.using("owner").get(pk=run.pk), progress)
    once_seen(run)
    assert progress.name == "waiting for the approval of a second administrator"
    assert "the command that asked for it goes on" in said(press(grace, "approve", run))
    thread.join(timeout=60)
    assert outcome == [None]
    assert again(run).status == "queued"


@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [
        (
            lambda run, progress: approval.reject(run, by=GRACE, reason="not today."),
            RefusedError,
            "grace@platform.example did not approve it: not today. Nothing was changed.",
        ),
        (
            lambda run, progress: progress.cancel(),
            CancelledError,
            "It was cancelled. Nothing of it was kept.",
        ),
    ],
    ids=["rejected", "Ctrl-C"],
)
def test_a_command_that_is_not_approved_ends(
    end: Callable[[Run, Counter], None], kind: type[OpsError], said: str
) -> None:
    run, progress = asked_by(COMMAND), Counter()
    thread, outcome = waiting(Run.objects.using("owner").get(pk=run.pk), progress)
    with as_owner_by_default():
        end(once_seen(run), progress)
    thread.join(timeout=60)
    assert [(type(error), str(error)) for error in outcome] == [(kind, said)]
    assert again(run).status == "cancelled"


def test_a_command_that_waits_no_longer_can_not_be_approved(grace: Browser) -> None:
    run = asked_by(COMMAND)
    with as_owner_by_default():
        Run.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
    answer = press(grace, "approve", run)
    assert "waits no longer, so nobody would carry it out" in answer.content.decode()
    assert again(run).status == "awaiting"


def test_what_was_queued_without_a_yes_is_refused_by_who_carries_it_out(
    settings: Settings,
) -> None:
    settings.RESTORE_TWO_PERSONS = False
    run = asked_by(COMMAND)
    settings.RESTORE_TWO_PERSONS = True
    with as_owner_by_default(), pytest.raises(RefusedError, match="RESTORE_TWO_PERSONS"):
        approval.require(run)


@pytest.mark.parametrize(
    "change",
    [
        "status = 'queued'",
        "status = 'done'",
        "status = 'queued', approved_by = asked_by, approved_at = now()",
        "status = 'queued', approved_by = 'x'",
    ],
)
def test_the_database_takes_no_forged_decision(ada: User, change: str) -> None:
    run = asked_by(ada)
    with (
        pytest.raises(Exception, match=r"permission denied|ops_run_approved") as caught,
        by_default_login(),
        acting_as_admin(),
    ):
        connection.cursor().execute(f"UPDATE ops_run SET {change}")
    assert isinstance(
        caught.value.__cause__,
        (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation),
    )
    assert again(run).status == RunStatus.AWAITING


def test_the_lists_tell_that_somebody_has_to_decide(ada: User, grace: Browser) -> None:
    asked_by(ada)
    assert "1 run awaits the approval of a second administrator" in words(
        grace.get("/admin/ops/run/")
    )
    assert "1 run awaits approval" in words(grace.get("/admin/"))
