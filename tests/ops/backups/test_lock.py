"""One backup of a kind at a time, and no lock outlives its holder."""

from __future__ import annotations

import os
import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from ops.backups.errors import BusyError
from ops.backups.lock import _CLASS, _SLOTS, one_at_a_time
from ops.models import BackupKind, Run, RunKind, RunStatus
from ops.runs import ask, running
from tests.ops.backups.conftest import ASKER, Backups, unused_process


def asked(kind: BackupKind) -> Run:
    return ask(RunKind.BACKUP, f"{kind.label} backup", by=ASKER, arguments={"kind": str(kind)})


def died(kind: BackupKind, *, process: int, host: str | None = None) -> Run:
    """A run that says it is running, of a process that is not (or is somebody else's)."""
    run = asked(kind)
    Run.objects.filter(pk=run.pk).update(
        status=RunStatus.RUNNING,
        started_at=timezone.now(),
        seen_at=timezone.now(),
        host=host or os.uname().nodename,
        process=process,
    )
    return run


def test_base_and_incremental_share_a_lock_and_others_do_not(backups: Backups) -> None:
    base, incremental, full = map(asked, (BackupKind.BASE, BackupKind.INCREMENTAL, BackupKind.FULL))
    with running(base), one_at_a_time(BackupKind.BASE, base):
        with one_at_a_time(BackupKind.FULL, full):
            pass
        with (
            pytest.raises(BusyError, match="is being taken since"),
            one_at_a_time(BackupKind.INCREMENTAL, incremental),
        ):
            pytest.fail("two at once")
    with one_at_a_time(BackupKind.INCREMENTAL, incremental):
        pass


def test_the_next_one_is_not_refused_while_the_server_has_yet_to_notice_the_end(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(BackupKind.FULL)
    with monkeypatch.context() as patched, one_at_a_time(BackupKind.FULL, run) as session:
        patched.setattr(session, "close", lambda: None)  # the end, as the server sees it so far
    assert not session.closed
    with one_at_a_time(BackupKind.FULL, run):
        pass
    session.close()


def test_the_dead_are_buried_by_the_next(backups: Backups) -> None:
    dead = died(BackupKind.FULL, process=unused_process())
    # A number that was given to another process since: ours is younger than that run.
    reused = died(BackupKind.FULL, process=os.getpid())
    Run.objects.filter(pk=reused.pk).update(started_at=timezone.now() - timedelta(days=1))
    silent = died(BackupKind.FULL, process=1, host="another machine")
    Run.objects.filter(pk=silent.pk).update(seen_at=timezone.now() - timedelta(hours=1))

    with one_at_a_time(BackupKind.FULL, asked(BackupKind.FULL)):
        pass

    for run in (dead, reused, silent):
        run.refresh_from_db()
        assert run.status == RunStatus.FAILED, run.host
        assert "died without a word" in run.message


def test_the_session_of_a_killed_one_is_given_a_moment_to_end(backups: Backups) -> None:
    dead = died(BackupKind.FULL, process=unused_process())
    session = backups.connect()
    session.execute("SELECT pg_advisory_lock(%s, %s)", [_CLASS, _SLOTS[BackupKind.FULL]])
    ending = threading.Timer(0.5, session.close)
    ending.start()

    with one_at_a_time(BackupKind.FULL, asked(BackupKind.FULL)):
        ending.join()
        assert session.closed

    dead.refresh_from_db()
    assert dead.status == RunStatus.FAILED


def test_the_living_and_the_unknown_are_left_alone(backups: Backups) -> None:
    refused_soon = died(BackupKind.FULL, process=os.getpid())
    elsewhere = died(BackupKind.FULL, process=unused_process(), host="another machine")
    another_kind = died(BackupKind.DATA, process=unused_process())

    with one_at_a_time(BackupKind.FULL, asked(BackupKind.FULL)):
        pass

    for run in (refused_soon, elsewhere, another_kind):
        run.refresh_from_db()
        assert run.status == RunStatus.RUNNING


def test_how_far_the_first_is_and_how_to_stop_it_is_said(backups: Backups) -> None:
    first, second = asked(BackupKind.FULL), asked(BackupKind.FULL)
    with running(first) as progress, one_at_a_time(BackupKind.FULL, first):
        progress.stop()
        Run.objects.filter(pk=first.pk).update(done=50, total=200)
        with pytest.raises(BusyError) as caught, one_at_a_time(BackupKind.FULL, second):
            pytest.fail("two at once")
    assert f"process {os.getpid()}, 25 % done. Nothing was done." in str(caught.value)
    assert str(caught.value).endswith(f"manage.py backups cancel {first.pk}")
