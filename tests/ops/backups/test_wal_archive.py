"""The archive as a whole: what the receiver stores leads to any moment, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ops.backups.errors import BackupError, BusyError, UnsupportedError
from ops.backups.wal import receiver, shipping
from ops.backups.wal.gaps import Anchor, Piece, gaps, restorable
from ops.backups.wal.slot import SLOT, drop_slot
from ops.backups.wal.status import wal_status
from ops.models import Backup, BackupKind, Run, RunStatus, WalSegment
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from tests.ops.backups.archive import extract, local, receive, require_whole, stored
from tests.ops.backups.conftest import Backups
from tests.ops.backups.replicating import restored, server_of_a_module
from tests.ops.backups.test_physical import unpack

server = server_of_a_module()


@pytest.fixture(autouse=True)
def _no_slot(backups: Backups) -> Iterator[None]:
    """Leave no slot to the next test, whose catalogue knows nothing of it."""
    yield
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


def scalar(backups: Backups, query: str) -> Any:
    with backups.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def setting(backups: Backups, name: str, value: str) -> Iterator[None]:
    """Change a setting of the server meanwhile."""
    with backups.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        with backups.connect() as connection:
            connection.execute(f"ALTER SYSTEM RESET {name}".encode())
            connection.execute("SELECT pg_reload_conf()")


def windows() -> list[tuple[datetime, datetime, str]]:
    found = restorable(
        map(Anchor.of_backup, Backup.objects.of_kind(BackupKind.BASE)),
        map(Piece.of_row, WalSegment.objects.all()),
    )
    return [(window.start_time, window.end_time, window.reason) for window in found]


def test_a_moment_between_two_rows_is_restored(backups: Backups, scratch: Path) -> None:
    backups.execute("CREATE TABLE public.seen (word text)")
    receive()
    base = backups.take(kind=BackupKind.BASE)
    backups.execute("INSERT INTO seen VALUES ('in')")
    moment: datetime = scalar(backups, "SELECT clock_timestamp()")
    backups.execute("INSERT INTO seen VALUES ('out')")
    receive()

    require_whole(backups)
    # The segment being written is fetched, and never stored as if it were whole.
    assert all(name.endswith(".partial") for name in local(backups))
    assert all(name.endswith(".zst.age") for name in backups.stored if name.startswith("wal/"))
    ((begin, end, reason),) = windows()
    assert begin < moment <= end
    assert reason == ""

    archive = scratch / "archive"
    archive.mkdir(mode=0o755)
    extract(archive)
    link = unpack(backups, base, scratch)
    with restored(
        [link],
        scratch,
        restore_command=f"cp {archive}/%f %p",
        recovery_target_time=moment.isoformat(),
        recovery_target_action="promote",
    ) as connection:
        dsn = {**connection.info.get_parameters(), "dbname": backups.database}
        with psycopg.connect(**dsn) as copy:
            words = copy.execute("SELECT word FROM seen").fetchall()
    assert words == [("in",)]


def test_killed_at_any_moment_it_goes_on_where_it_was(backups: Backups) -> None:
    process = backups.manage("walreceiver")
    assert process.stdout is not None
    wait_for(process, "fetching WAL of server")
    backups.execute("CREATE TABLE public.one (); SELECT pg_switch_wal()")
    wait_for(process, "stored 0")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (orphan,) = receiving(backups)
    backups.execute("CREATE TABLE public.two (); SELECT pg_switch_wal()")

    said = receive()

    assert said[0] == f"stopping the pg_receivewal that a killed receiver left ({orphan})"
    require_whole(backups)
    assert receiving(backups) == []


def test_sigterm_ends_it_in_order(backups: Backups) -> None:
    process = backups.manage("walreceiver")
    wait_for(process, "fetching WAL of server")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "ended in order; segments stored: " in out
    assert receiving(backups) == []


def test_pg_receivewal_is_started_again(backups: Backups) -> None:
    ended: list[str] = []

    def kill_once(line: str) -> bool:
        if line.startswith("stored ") and not ended:
            (victim,) = receiving(backups)
            os.kill(victim, signal.SIGKILL)
            backups.execute("CREATE TABLE public.more (); SELECT pg_switch_wal()")
        if line.startswith("pg_receivewal ended: "):
            ended.append(line)
        return line.startswith("stored ") and bool(ended)

    backups.execute("CREATE TABLE public.some (); SELECT pg_switch_wal()")
    receive(once=False, until=kill_once)
    assert ended[0].endswith("; again in 1 s")
    receive()
    require_whole(backups)


def test_what_was_stored_but_not_entered_is_adopted(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As kill -9 between the storage and the catalogue."""

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(shipping, "record_segment", die)
        with pytest.raises(Killed):
            receive()
    (before,) = [name for name in backups.stored if name.startswith("wal/")]
    assert not WalSegment.objects.exists()
    receive()
    assert before in backups.stored
    require_whole(backups)


def test_what_was_stored_by_half_is_stored_again(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_what_was_stored_but_not_entered_is_adopted(backups, monkeypatch)
    newest = WalSegment.objects.in_order().last()
    assert newest is not None
    place = backups.folder / newest.object_name
    content = place.read_bytes()
    whole = receiver.archive_folder() / newest.system_identifier / "closed" / newest.segment
    name = shipping.ObjectName.parse(newest.object_name)
    assert name is not None
    whole.write_bytes(shipping.open_segment(name, shipping.Vault.primary()))
    newest.delete()
    place.write_bytes(content[:-100])
    receive()
    assert newest.object_name not in backups.stored
    require_whole(backups)


def test_what_was_entered_but_not_removed_is_not_stored_twice(backups: Backups) -> None:
    receive()
    before = stored(backups)
    row = WalSegment.objects.in_order().first()
    assert row is not None
    left = receiver.archive_folder() / row.system_identifier / "closed" / row.segment
    left.write_bytes(b"as it was")
    receive(once=False, until=lambda line: line.startswith("fetching"))
    receive()
    assert not left.exists()
    assert stored(backups)[: len(before)] == before
    require_whole(backups)


def test_segments_wait_while_the_storage_is_away(backups: Backups) -> None:
    backups.folder.write_text("in the way")

    def mend(line: str) -> bool:
        if "can't be used" in line:
            backups.folder.unlink()
        return line == "dbbackup takes segments again"

    backups.execute("SELECT pg_switch_wal()")
    said = receive(once=False, until=mend)
    (complaint,) = [line for line in said if "can't be used" in line]
    assert "1 segment waits in " in complaint
    assert complaint.endswith(" for dbbackup; again in 1 s")
    require_whole(backups)
    backups.folder.rename(backups.var / "aside")
    backups.folder.write_text("in the way")
    with pytest.raises(BackupError, match="can't be used"):
        receive()


def test_a_lost_slot_is_made_anew_with_a_new_base(backups: Backups) -> None:
    receive()
    first = backups.take(kind=BackupKind.BASE)
    receive()
    with setting(backups, "max_slot_wal_keep_size", "16MB"):
        for number in range(20):
            backups.execute(f"CREATE TABLE public.t{number} (); SELECT pg_switch_wal()")
            backups.execute("CHECKPOINT")
            status = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
            if scalar(backups, status) == "lost":
                break
        assert wal_status().slot == "lost"
        said = receive(once=False, until=lambda line: line.startswith("took srvc-"))
    assert said[0] == (
        "WARNING: the server had to drop WAL that was not fetched yet. Moments since the last "
        "stored segment can't be restored. The slot srvc_wal was made anew, and a new base backup "
        "is taken"
    )
    second = Backup.objects.of_kind(BackupKind.BASE).newest_first().first()
    assert second is not None
    assert second != first
    run = Run.objects.newest_first().first()
    assert run is not None
    assert (run.via, run.status, run.backup) == ("walreceiver", RunStatus.DONE, second)

    receive()
    (hole,) = gaps(map(Piece.of_row, WalSegment.objects.all()))
    told = f"WARNING: {hole}. Those moments can't be restored"
    assert told in receive()
    before, after = windows()
    assert str(hole) == before[2]
    assert before[1] < after[0]
    assert after[2] == ""
    status_now = wal_status()
    assert (status_now.slot, status_now.newest) == ("reserved", WalSegment.objects.latest("pk"))


def test_a_slot_that_has_gone_calls_for_a_base_too(backups: Backups) -> None:
    receive()
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)
    backups.execute("CREATE TABLE public.unseen ()")
    said = receive(once=False, until=lambda line: line.startswith("took srvc-"))
    assert said[0].startswith("WARNING: the slot srvc_wal has gone from the server.")
    assert Backup.objects.get().kind == BackupKind.BASE


def test_the_second_receiver_is_told_who_runs(backups: Backups) -> None:
    with receiver.only_one(receiver.archive_folder()), pytest.raises(BusyError) as refused:
        receive()
    assert str(refused.value).startswith("Another walreceiver runs since ")
    assert f"process {os.getpid()}. Nothing was done; one is enough." in str(refused.value)


def test_a_slot_that_somebody_else_uses(
    backups: Backups, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive()
    endpoint = Endpoint.replication()
    assert endpoint is not None
    monkeypatch.setattr(receiver, "_ORPHAN_SECONDS", 0)
    other = subprocess.Popen(
        [
            endpoint.program("pg_receivewal"),
            *endpoint.arguments(),
            f"--slot={SLOT}",
            f"--directory={scratch}",
        ],
        env={**endpoint.environment(), "PGAPPNAME": "somebody else"},
        stderr=subprocess.DEVNULL,
    )
    active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    try:
        while not scalar(backups, active):
            assert other.poll() is None
        with pytest.raises(BusyError) as refused:
            receive()
    finally:
        other.kill()
        other.wait()
        while scalar(backups, active):
            time.sleep(0.05)
    assert str(refused.value).startswith("The slot srvc_wal is in use by somebody else on ")


def test_a_login_that_may_not_replicate(backups: Backups) -> None:
    backups.execute("ALTER ROLE srvc_replication NOREPLICATION")
    try:
        process = backups.manage("walreceiver")
        _, err = process.communicate(timeout=60)
        with pytest.raises(UnsupportedError):
            receive()
    finally:
        backups.execute("ALTER ROLE srvc_replication REPLICATION")
    assert process.returncode == 1
    assert "The server does not let srvc_replication replicate: " in err
    assert "Traceback" not in err


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it never said {text!r}: {process.communicate()}")


def receiving(backups: Backups) -> list[int]:
    """The pg_receivewal processes that write into this installation's folder."""
    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline", "status"])
        if process.info["name"] == "pg_receivewal"
        and str(backups.var) in " ".join(process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_the_server_stops_and_comes_back(backups: Backups, server: EmbeddedServer) -> None:
    def restart(line: str) -> bool:
        if line.startswith("stored ") and not restarts:
            restarts.append(line)
            server.stop()
            server.start()
            backups.execute("CREATE TABLE public.back (); SELECT pg_switch_wal()")
        return line.startswith("stored ") and scalar(backups, behind) == 0

    behind = (
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'srvc_wal'"
        " AND pg_walfile_name(restart_lsn) < pg_walfile_name(pg_current_wal_insert_lsn())"
    )
    restarts: list[str] = []
    backups.execute("CREATE TABLE public.here (); SELECT pg_switch_wal()")
    receive(once=False, until=restart)
    receive()
    assert restarts
    require_whole(backups)
