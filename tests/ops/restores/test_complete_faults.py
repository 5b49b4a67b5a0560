"""What goes wrong while the whole database is restored: the live one stays whole and open."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from django.db import connections
from pytest_django import Settings

from ops.backups.errors import BusyError
from ops.backups.lock import one_at_a_time
from ops.models import BackupKind, Restore, RestoreState, Run, RunKind, RunStatus
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.errors import RestoreError
from ops.restores.requests import RestoreRequest
from ops.runs import OWNER, running
from srvc.environment import BASE_DIR
from tests.factories import make_business
from tests.harness import disks
from tests.ops.backups.conftest import ASKER, Backups, unused_process
from tests.ops.restores.restorable import Restorable, made_restorable

TIMES = 10


@pytest.fixture
def live(backups: Backups) -> Iterator[Restorable]:
    with made_restorable(backups) as found:
        yield found


@pytest.mark.simulation
def test_killed_at_ten_points_the_live_database_is_whole_and_the_next_one_cleans_up(
    live: Restorable,
) -> None:
    make_business(name="Of the backup")
    backup = live.backups.take(kind="full")
    before = live.proof()
    changed = "CREATE TABLE IF NOT EXISTS public.today (id int)"
    live.backups.execute(changed)
    today = live.proof()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ops.restores.killed", backup.name, str(TIMES), "4"],
        cwd=BASE_DIR,
        env=live.backups.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(TIMES):
            point = next(line for line in process.stdout if line[0].isdigit() and line[1] == ".")
            # One of the two, whole, and open to whoever comes.
            _open_again(live)
            is_old = live.scalar("SELECT to_regclass('public.today') IS NOT NULL")
            assert live.differences(today if is_old else before) == [], point
            live.backups.execute(changed)
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        process.stdin.close()
        process.stdout.close()
    connections.close_all()  # the swaps have ended what these led to
    row = live.restore(backup, safety_backup=False)
    assert row.state == RestoreState.SWAPPED
    assert live.differences(before) == []
    # Nothing of the killed ones is left but what a swap keeps, and none is taken for running.
    assert [name for name in live.beside() if "_restore_" in name] == []
    assert list((live.backups.var / "restores").iterdir()) == []
    assert not Restore.objects.filter(state=RestoreState.PREPARING).exists()
    kept = set(Restore.objects.filter(state=RestoreState.SWAPPED).values_list("kept_database"))
    assert {(name,) for name in live.beside()} == kept


def _open_again(live: Restorable) -> None:
    """A swap that was begun is ended by the server, within the seconds that it gives sessions."""
    deadline = time.monotonic() + 15
    while True:
        try:
            with closing(Endpoint.of(OWNER).connect()):
                return
        except ServerError:
            assert time.monotonic() < deadline, "the live database stayed closed"
            time.sleep(0.1)


def test_one_restore_of_a_database_goes_on_at_a_time(live: Restorable) -> None:
    backup = live.backups.take(kind="full")
    asked = ask_for_restore(RestoreRequest(backup=backup.name), by=ASKER)
    with (
        running(asked),
        one_restore_at_a_time(Endpoint.of(OWNER), asked),
        pytest.raises(BusyError) as caught,
    ):
        live.restore(backup)
    asked.refresh_from_db()
    assert str(caught.value) == (
        f"{live.name} is being restored already: Restore the backup {backup.name} was begun at "
        f"{asked.started_at:%H:%M:%S} UTC by tester@example.com (test) on {asked.host}, process "
        f"{asked.process}. Nothing was done. Wait for it to end, or cancel it: manage.py backups "
        f"cancel {asked.pk}"
    )
    assert not Restore.objects.exists()


def test_the_session_of_a_killed_restore_is_given_a_moment_to_end(live: Restorable) -> None:
    backup = live.backups.take(kind="full")
    killed = ask_for_restore(RestoreRequest(backup=backup.name), by=ASKER)
    asked = ask_for_restore(RestoreRequest(backup=backup.name), by=ASKER)
    endpoint = Endpoint.of(OWNER)
    with running(killed), ExitStack() as of_killed:
        of_killed.enter_context(one_restore_at_a_time(endpoint, killed))
        ending = threading.Timer(0.5, of_killed.close)
        with pytest.raises(BusyError), one_restore_at_a_time(endpoint, asked):
            pytest.fail("two at once")
        Run.objects.filter(pk=killed.pk).update(process=unused_process())
        ending.start()
        with one_restore_at_a_time(endpoint, asked):
            ending.join()


def test_a_backup_that_is_being_taken_is_told_before_anything_begins(live: Restorable) -> None:
    backup = live.backups.take(kind="full")
    other = Run.objects.filter(kind=RunKind.BACKUP).get()
    Run.objects.filter(pk=other.pk).update(status=RunStatus.RUNNING)
    with one_at_a_time(BackupKind.FULL, other), pytest.raises(BusyError) as caught:
        live.restore(backup)
    assert str(caught.value).startswith("A full backup is being taken since ")
    assert str(caught.value).endswith(
        "and a restore takes one of its own. Nothing was done. Wait for it to end, or cancel it: "
        f"manage.py backups cancel {other.pk}"
    )
    assert not Restore.objects.exists()
    assert live.beside() == []


def test_a_full_disk_is_told_and_nothing_is_left(
    live: Restorable, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = live.backups.take(kind="full")
    # What was free when it was looked at may be gone when it is written to.
    monkeypatch.setattr("ops.restores.complete.servercheck._without_room", lambda *_: iter(()))
    with disks.mounted(tmp_path / "disk", "size=200k,mode=0700") as disk:
        settings.VAR_DIR = disk
        with pytest.raises(RestoreError) as caught:
            restore(ask_for_restore(RestoreRequest(backup=backup.name), by=ASKER))
        assert list((disk / "restores").iterdir()) == []
    assert str(caught.value) == (
        f"The dump could not be written to {disk}/restores: No space left on device. Nothing was "
        f"changed. It takes {backup.raw_size:,} bytes there; free some, or set SRVC_VAR."
    )
    assert live.beside() == []
    assert Restore.objects.get().note == str(caught.value)
