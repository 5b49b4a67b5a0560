"""Drills of the server's files and of moments: their ladders, and both sides of a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pytest_django import Settings

from ops.backups.wal.slot import drop_slot
from ops.models import BackupKind, BackupState, Drill, DrillVerdict, Run
from ops.postgres.endpoint import Endpoint
from ops.readiness.reading import readiness
from ops.restores.moments.live import live_server
from tests.ops.backups.conftest import Backups
from tests.ops.backups.replicating import server_of_a_module
from tests.ops.restores.drilling import found, rehearse, states

server = server_of_a_module()

COPY = [
    "ended", "checksum", "restore", "structure", "rows", "sides", "indexes", "visible",
    "invariants", "smoke", "blocks",
]  # fmt: skip
MOMENT = [
    "reach", "restore", "structure", "rows", "sides", "indexes", "visible", "invariants", "smoke",
    "blocks",
]  # fmt: skip


@pytest.fixture
def receiver(backups: Backups) -> Iterator[None]:
    """Keep a receiver running, and leave no slot to the next test."""
    process = backups.manage("walreceiver")
    try:
        deadline = time.monotonic() + 60
        while (live := live_server()) is None or not live.receiving:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate()
        endpoint = Endpoint.replication()
        assert endpoint is not None
        drop_slot(endpoint)


@pytest.mark.long
@pytest.mark.usefixtures("receiver")
def test_a_base_a_chain_and_this_very_moment_pass(backups: Backups, settings: Settings) -> None:
    base = backups.take(kind=BackupKind.BASE)
    link = backups.take(kind=BackupKind.INCREMENTAL)

    done = rehearse(link)

    assert states(done) == dict.fromkeys(COPY, "held")
    assert done.verdict == DrillVerdict.PASSED
    assert found(done, "checksum").startswith("2 links, each unpacked and found whole by pg_verify")
    witness = link.manifest["details"]["witness"]
    assert found(done, "sides").startswith(f"Run {witness}, written before it began, is in it; of ")
    assert found(done, "visible").endswith("; what it saw is unrecorded.")
    link.refresh_from_db()
    assert link.state == BackupState.PROVEN

    settings.SMOKE_TEST_COMMAND = ""
    done = rehearse(base)
    assert states(done) == {name: "held" for name in COPY if name != "smoke"}
    assert done.verdict == DrillVerdict.PASSED

    done = rehearse(moment="now")
    assert states(done) == {name: "held" for name in MOMENT if name != "smoke"}
    assert (done.verdict, done.backup, done.target) == (DrillVerdict.PASSED, None, "now")
    before, after = Run.objects.filter(subject__contains="a witness").order_by("pk")
    assert found(done, "sides") == (
        f"Run {before.pk}, committed just before, is there; run {after.pk}, just after, is not."
    )
    assert done.holds is not None
    assert before.asked_at < done.holds < after.asked_at
    assert done.rpo_seconds == 0
    assert readiness().level == "good"

    require_the_sides_of_a_given_time(done)


def require_the_sides_of_a_given_time(past: Drill) -> None:
    """Without witnesses of its own the runs beside the moment are looked for."""
    assert past.holds is not None
    before, after = Run.objects.filter(subject__contains="a witness").order_by("pk")
    # The catalogue says that the row before came after: what was restored has it, and is wrong.
    far = timedelta(seconds=3)
    Run.objects.filter(pk__lt=before.pk).update(asked_at=past.holds - 10 * far)
    Run.objects.filter(pk__gt=after.pk).update(asked_at=past.holds + 10 * far)
    Run.objects.filter(pk=before.pk).update(asked_at=past.holds + far)
    Run.objects.filter(pk=after.pk).update(asked_at=past.holds + 2 * far)
    done = rehearse(moment=past.holds.isoformat())
    assert done.verdict == DrillVerdict.FAILED
    assert done.note.startswith(
        "Step 5 of 9 failed (What was committed just before is there, what came just after is "
        f"not): Run {before.pk}, committed just after the moment, is there."
    )
