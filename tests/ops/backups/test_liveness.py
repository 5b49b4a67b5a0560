"""A run is alive while its lock is held, and dead when nobody holds it, whatever its row says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live_settings
from django.core.management import call_command
from django.utils import timezone
from django.utils.module_loading import import_string

from ops import liveness
from ops.backups.errors import BusyError
from ops.models import BackupKind, Drill, DrillVerdict, Run, RunKind, RunStatus
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.restore import clean_up
from ops.restores.complete.servercheck import require_no_backup_running
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_admin
from ops.runs import OWNER, ask, ask_to_cancel, close_dead_runs, running
from srvc.settings import BASE_DIR
from tests.factories import make_business
from tests.harness import database
from tests.harness.waiting import wait_until
from tests.ops.admin.rows import by_default_login
from tests.ops.backups.conftest import ASKER, Backups, unused_process
from tests.ops.restores.accounts import export

Kill = Callable[..., Run]


@pytest.fixture
def kill(backups: Backups) -> Iterator[Kill]:
    """Return what begins a command in a process of its own and kills that with kill -9."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ops.backups.dying"],
        cwd=BASE_DIR, env=backups.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout

        def killed(name: str, *arguments: str, **options: Any) -> Run:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([name, arguments, options]) + "\n")
            process.stdin.flush()
            number = int(process.stdout.readline())
            assert number, f"{name} was not under way"
            return Run.objects.get(pk=number)

        yield killed
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def slow(backups: Backups) -> Iterator[None]:
    """Let everything that reads customers wait, so that it can be killed at that."""
    with backups.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers, users IN ACCESS EXCLUSIVE MODE")
        yield
        holder.rollback()


def ended(run: Run) -> Run:
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.finished_at is not None
    return run


def test_a_full_backup_that_was_killed_stands_in_nobodys_way(
    backups: Backups, kill: Kill, slow: None
) -> None:
    run = kill("backup", json=True)
    assert (run.kind, run.status) == (RunKind.BACKUP, RunStatus.RUNNING)
    require_no_backup_running()  # what every restore asks
    assert liveness.is_dead(run)
    call_command("backups", "cancel", str(run.pk))
    ended(run)


def test_each_kind_that_was_killed_is_ended_by_whoever_notices(
    backups: Backups, kill: Kill, tmp_path: Path
) -> None:
    with by_default_login():
        make_business(email="ada@example.com")
    database.provide_template(backups.database)
    archive = tmp_path / "ada.tar"
    export("ada@example.com", archive)
    taken = backups.take()
    began: dict[RunKind, tuple[str, dict[str, Any]]] = {
        RunKind.RESTORE: ("restore", {"yes": True, "safety_backup": False, "undo": None}),
        RunKind.DRILL: ("drill", {}),
    }
    for kind, (command, options) in began.items():
        run = kill(command, taken.name, **options)
        assert (run.kind, run.status, liveness.is_dead(run)) == (kind, RunStatus.RUNNING, True)
        assert close_dead_runs() == 1
        ended(run)
    assert not Drill.objects.filter(verdict=DrillVerdict.RUNNING).exists()
    live = Endpoint.of(OWNER)
    with one_restore_at_a_time(live) as session:
        clean_up(session, live, Counter())  # as the next restore does
    with backups.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers, users IN ACCESS EXCLUSIVE MODE")
        for kind, arguments in {
            RunKind.EXPORT: ("exportaccount", "ada@example.com", str(tmp_path / "again.tar")),
            RunKind.IMPORT: ("importaccount", str(archive), "--as-email", "new@example.com"),
        }.items():
            run = kill(*arguments)
            assert (run.kind, run.status, liveness.is_dead(run)) == (kind, RunStatus.RUNNING, True)
            # Whatever is begun next ends it.
            with running(ask(RunKind.VERIFY, "another", by=ASKER)):
                ended(run)
        holder.rollback()


def test_what_is_alive_stays_however_old_its_sign_of_life(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "", by=ASKER, arguments={"kind": BackupKind.FULL})
    with running(run):
        wait_until(lambda: run.pk in liveness._held())
        Run.objects.filter(pk=run.pk).update(
            seen_at=timezone.now() - timedelta(hours=1), process=unused_process()
        )
        run.refresh_from_db()
        assert not liveness.is_dead(run, timezone.now() + timedelta(hours=1))
        assert [each.pk for each in liveness.living(Run.objects.all())] == [run.pk]
        with pytest.raises(BusyError):
            require_no_backup_running()


def test_without_its_lock_the_sign_of_life_is_believed_for_seconds_only(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "", by=ASKER, arguments={"kind": BackupKind.FULL})
    now = timezone.now()
    values = {"status": RunStatus.RUNNING, "started_at": now, "host": "another machine"}
    Run.objects.filter(pk=run.pk).update(seen_at=now, process=1, **values)
    run.refresh_from_db()
    assert not liveness.is_dead(run, now)
    assert liveness.is_dead(run, now + liveness.GRACE + timedelta(seconds=1))


def test_a_web_process_sees_the_dead_as_well_as_the_owner(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "", by=ASKER, arguments={"kind": BackupKind.FULL})
    with running(run):
        wait_until(lambda: run.pk in liveness._held())
        with by_default_login(), acting_as_admin():
            assert run.pk in liveness._held()
    with by_default_login(), acting_as_admin():
        assert run.pk not in liveness._held()


def test_the_watcher_ends_the_dead_when_nobody_else_does(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "", by=ASKER, arguments={"kind": BackupKind.FULL})
    hours_ago = timezone.now() - timedelta(hours=1)
    Run.objects.filter(pk=run.pk).update(status=RunStatus.RUNNING, seen_at=hours_ago)
    with as_owner_by_default():
        for each in live_settings.WATCHER_TIDIES:
            import_string(each)(timezone.now())
    ended(run)


def test_to_cancel_a_dead_one_is_to_end_it(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "", by=ASKER, arguments={"kind": BackupKind.FULL})
    Run.objects.filter(pk=run.pk).update(status=RunStatus.RUNNING, seen_at=None)
    run.refresh_from_db()
    assert ask_to_cancel(run, by="other@example.com") is False
    assert ended(run).cancel_asked_at is None
