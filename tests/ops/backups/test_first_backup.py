"""The first backup that `make run` takes: proven once, and never in anybody's way."""

from __future__ import annotations

import signal
import subprocess
import sys

from ops.models import Backup, BackupState, Run, RunKind, RunStatus
from srvc.environment import BASE_DIR
from srvc.launch import first_backup
from tests.ops.backups.conftest import Backups


def started(backups: Backups) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "srvc.launch.first_backup"],
        cwd=BASE_DIR,
        env=backups.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_that_was_taken_is_proven_and_then_none_is_wanted(backups: Backups) -> None:
    taken = backups.take()
    assert first_backup.wanted()

    process = started(backups)
    out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (0, "")
    assert out.startswith("✓ first backup taken and proven by a restore (")
    assert Backup.objects.get() == taken
    assert Backup.objects.get().state == BackupState.PROVEN
    assert [run.kind for run in Run.objects.filter(via="launch")] == [RunKind.PROVE]
    assert not first_backup.wanted()


def test_one_that_fails_is_a_line_and_is_wanted_again(backups: Backups) -> None:
    backups.folder.write_text("a file where the storage's folder should be")

    process = started(backups)
    out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (1, "")
    assert out.startswith("There is no proven backup yet. The storage dbbackup can't be used")
    assert len(out.splitlines()) == 1
    assert first_backup.wanted()


def test_it_ends_with_the_site_and_says_nothing(backups: Backups) -> None:
    with backups.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        process = started(backups)
        while not Run.objects.filter(phase__contains="locks").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err) == (130, "", "")
    assert Run.objects.get().status == RunStatus.CANCELLED
    assert first_backup.wanted()
