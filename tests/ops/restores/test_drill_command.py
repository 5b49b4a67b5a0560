"""`manage.py drill`: its ladder, its exit statuses, and nothing left when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from ops.models import Drill, DrillVerdict
from ops.runs import close_dead_runs
from tests.ops.backups.conftest import Backups


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_it_prints_the_ladder_and_ends_by_its_verdict(backups: Backups) -> None:
    status, _, err = finished(backups.manage("drill", "development"))
    assert status == 2
    assert "There is no good backup of development that a restore" in err
    assert "Traceback" not in err
    backups.take()

    status, out, err = finished(backups.manage("drill", "--random", "--json"))

    assert status == 0, err
    told = json.loads(out)
    assert told["verdict"] == "passed"
    assert [each["state"] for each in told["steps"]] == ["held"] * 10
    # A file in the storage changes: found at the second step, told in a sentence, exit status 1.
    (archive,) = backups.folder.glob("*.dump.zst.age")
    archive.write_bytes(archive.read_bytes()[:-1])
    status, out, err = finished(backups.manage("drill", "--latest"))
    assert status == 1
    assert "✓ held" in out
    assert "✗ failed" in out
    assert "- not reached" in out
    assert "Failed: srvc-" in out
    assert "The drill did not pass. Step 2 of 10 failed" in err
    status, out, err = finished(backups.manage("drill", "--list"))
    assert status == 0
    assert out.count(" Passed ") == out.count(" Failed ") == 1
    assert "Nothing can be restored: there is no good backup of development." in out


def test_a_killed_one_leaves_nothing_that_the_next_does_not_remove(backups: Backups) -> None:
    backups.take()
    process = backups.manage("drill")
    _wait_for_step("structure")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert Drill.objects.get().verdict == DrillVerdict.RUNNING

    assert close_dead_runs() == 1

    assert Drill.objects.get().verdict == DrillVerdict.ABORTED
    process = backups.manage("drill")
    _wait_for_step("structure")
    assert len(list((backups.var / "scratch").iterdir())) == 1  # its own; the other one is gone
    process.send_signal(signal.SIGTERM)
    status, _, err = finished(process)
    assert (status, "It was cancelled." in err) == (130, True)
    assert not list((backups.var / "scratch").iterdir())
    assert set(Drill.objects.values_list("verdict", flat=True)) == {DrillVerdict.ABORTED}


def _wait_for_step(name: str) -> None:
    """Wait until a running drill has come so far."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        running = Drill.objects.filter(verdict=DrillVerdict.RUNNING).newest_first().first()
        if running and any(each["step"] == name for each in running.steps):
            return
        time.sleep(0.02)
    raise AssertionError(f"It never came to {name}.")
