"""The record of an operation: who asked, how far it is, whether it was stopped, how it ended."""

from __future__ import annotations

import pytest
from django.db import connections
from django.utils import timezone

from ops import runs
from ops.errors import OpsError
from ops.models import Run, RunKind, RunStatus
from ops.models.runs import SILENCE
from ops.progress import CancelledError
from ops.runs import Asker, ask, ask_to_cancel, close_dead_runs, record, running
from tests.harness.waiting import wait_until
from tests.ops.backups.conftest import ASKER, Backups


@pytest.fixture
def run(backups: Backups) -> Run:
    return ask(RunKind.BACKUP, "Full backup", by=ASKER)


def test_it_is_waiting_then_running_then_done(run: Run) -> None:
    assert (run.status, run.asked_by, run.via) == (RunStatus.QUEUED, ASKER.name, ASKER.via)
    with running(run) as progress:
        run.refresh_from_db()
        assert run.status == RunStatus.RUNNING
        assert run.process
        assert run.host
        progress.say("It went well.")
    run.refresh_from_db()
    assert (run.status, run.message) == (RunStatus.DONE, "It went well.")
    assert run.has_ended


def test_its_row_shows_how_far_it_is(run: Run) -> None:
    with running(run) as progress:
        progress.phase("dumping", 100, "bytes")
        progress.advance(40)
        wait_until(lambda: Run.objects.filter(phase="dumping", done=40).exists())
        run.refresh_from_db()
        assert (run.total, run.unit) == (100, "bytes")


def test_progress_is_written_again_after_the_server_ended_its_session(
    run: Run, backups: Backups
) -> None:
    with running(run) as progress:
        progress.phase("dumping")
        wait_until(lambda: Run.objects.filter(phase="dumping").exists())
        connections["owner"].close()
        backups.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        progress.phase("signing")
        wait_until(lambda: Run.objects.filter(phase="signing").exists())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OpsError("The bucket is full."), RunStatus.FAILED, "The bucket is full."),
        (
            ValueError("a secret"),
            RunStatus.FAILED,
            "It crashed; the log says where. Nothing of it was kept.",
        ),
        (
            KeyboardInterrupt(),
            RunStatus.CANCELLED,
            "It was interrupted. Nothing of it was kept.",
        ),
        (CancelledError("It was cancelled."), RunStatus.CANCELLED, "It was cancelled."),
    ],
)
def test_however_it_ends_its_row_says_so(
    run: Run, error: BaseException, status: RunStatus, message: str
) -> None:
    with pytest.raises(type(error)), running(run):
        raise error
    run.refresh_from_db()
    assert (run.status, run.message) == (status, message)
    assert run.finished_at is not None


def test_somebody_else_can_ask_it_to_stop(run: Run) -> None:
    def stopped() -> None:
        with running(run) as progress:
            ask_to_cancel(run, by="other@example.com")
            ask_to_cancel(run, by="late@example.com")  # twice is as good as once
            wait_until(progress._cancelled.is_set)
            progress.check()

    with pytest.raises(CancelledError):
        stopped()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    assert run.cancel_asked_by == "other@example.com"
    with pytest.raises(OpsError, match="has ended already"):
        ask_to_cancel(run, by="other@example.com")


def test_cancelled_while_waiting_it_never_begins(run: Run) -> None:
    ask_to_cancel(run, by="other@example.com")
    with pytest.raises(CancelledError, match="before it began"), running(run):
        pytest.fail("it began")
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_a_second_process_with_the_same_run_leaves_the_first_alone(run: Run) -> None:
    with running(run):
        with pytest.raises(OpsError, match="is running or has ended already"), running(run):
            pytest.fail("it began twice")
        run.refresh_from_db()
        assert run.status == RunStatus.RUNNING
    run.refresh_from_db()
    assert run.status == RunStatus.DONE


def test_a_run_without_a_sign_of_life_is_buried_and_one_that_was_slow_returns(run: Run) -> None:
    alive = ask(RunKind.VERIFY, "another", by=ASKER)
    with running(run) as progress, running(alive):
        progress.stop()
        silent = timezone.now() - 2 * SILENCE
        Run.objects.filter(pk=run.pk).update(seen_at=silent)
        assert close_dead_runs() == 1
        run.refresh_from_db()
        assert run.status == RunStatus.FAILED
        assert "died without a word" in run.message
    run.refresh_from_db()
    assert run.status == RunStatus.DONE


def test_one_step_is_recorded_as_done(backups: Backups) -> None:
    done = record(RunKind.DOWNLOAD, "srvc-x", by=ASKER, message="Downloaded.")
    assert (done.status, done.message) == (RunStatus.DONE, "Downloaded.")
    assert done.started_at == done.finished_at


def test_who_runs_a_command_is_known_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(runs.getpass, "getuser", nobody)
    monkeypatch.setattr(runs.os, "getuid", lambda: 4711)
    assert Asker.of_command().name.startswith("4711@")
    assert Asker.of_command().via == "cron or script"
