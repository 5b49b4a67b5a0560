"""What goes wrong while the server's files are copied, and servers that can't give them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from pytest_django import Settings

from ops.backups.errors import BackupError, UnsupportedError
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import BackupKind, Run, RunStatus
from ops.postgres.account import server_account
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.errors import ToolError
from ops.progress import CancelledError
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import During, server_of_a_module

server = server_of_a_module()


def fails(backups: Backups, error: type[Exception], during: During | None = None) -> str:
    """Take a base, expect it to fail, and nothing to be left; return what was said."""
    run = ask_for_backup(Request(kind=BackupKind.BASE), by=ASKER)
    with pytest.raises(error) as refused:
        take_backup(run, during)
    assert backups.stored == []
    run.refresh_from_db()
    assert run.status in {RunStatus.FAILED, RunStatus.CANCELLED}
    return str(refused.value)


def test_a_cancelled_copy_leaves_nothing(backups: Backups) -> None:
    during = During(lambda: during.cancel())  # noqa: PLW0108 (it is made in this very line)
    assert fails(backups, CancelledError, during) == "It was cancelled. Nothing of it was kept."


def test_a_server_that_goes_away_leaves_nothing(backups: Backups) -> None:
    def cut() -> None:
        backups.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")

    said = fails(backups, ToolError, During(cut))
    assert said.startswith("pg_basebackup failed (1): ")
    assert said.endswith(
        "Nothing that looks like a backup was left. See that the server runs, and run this again."
    )


def test_kill_9_leaves_nothing_that_looks_whole(backups: Backups) -> None:
    process = backups.manage("backup", "--base")
    deadline = time.monotonic() + 60
    while not (begun := list(backups.folder.glob("physical/*.age"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (backups.folder / "manifests").exists()
    # On a busy machine the next object may have been begun before the signal came.
    left = backups.unfinished
    assert {str(path.relative_to(backups.folder)) for path in begun} <= set(left)
    taken = backups.take(kind=BackupKind.INCREMENTAL)
    assert taken.kind == BackupKind.BASE
    assert backups.unfinished == left
    killed = Run.objects.earliest("pk")
    assert killed.status == RunStatus.FAILED


def test_tablespaces_are_refused(backups: Backups, server: EmbeddedServer, scratch: Path) -> None:
    place = scratch / "space"
    place.mkdir(mode=0o700)
    if account := server_account(server.home):
        os.chown(place, account.uid, account.gid)
    backups.execute(f"CREATE TABLESPACE fast LOCATION '{place}'")
    try:
        assert fails(backups, UnsupportedError) == (
            "The server has tablespaces of its own (fast), which base backups can't carry. Nothing "
            "was taken. Take full backups (`manage.py backup --full`), or move what is in them to "
            "pg_default and drop them."
        )
    finally:
        backups.execute("DROP TABLESPACE fast")


def test_a_login_that_may_not_replicate(backups: Backups) -> None:
    backups.execute("ALTER ROLE srvc_replication NOREPLICATION")
    try:
        said = fails(backups, UnsupportedError)
    finally:
        backups.execute("ALTER ROLE srvc_replication REPLICATION")
    assert said.startswith("The server does not let srvc_replication replicate: ")
    assert said.endswith(
        "Nothing was taken. What is possible there: full backups (`manage.py backup --full`) as "
        "often as you can bear to lose what came after, and the provider's own point-in-time "
        "recovery."
    )


def test_no_login_to_replicate(backups: Backups, settings: Settings) -> None:
    settings.REPLICATION_URL = ""
    assert fails(backups, UnsupportedError).startswith(
        "Base and incremental backups and WAL need a login with REPLICATION, and "
        "DATABASE_REPLICATION_URL names none. Nothing was taken. What is possible there: full "
    )


def test_a_storage_that_takes_nothing(backups: Backups) -> None:
    backups.folder.mkdir(parents=True)
    (backups.folder / "physical").write_text("in the way")
    run = ask_for_backup(Request(kind=BackupKind.BASE), by=ASKER)
    with pytest.raises(BackupError, match="can't be used"):
        take_backup(run)
    assert backups.stored == ["physical"]
