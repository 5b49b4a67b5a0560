"""The owner's work, replication and an administrator's begin at PostgreSQL itself, or never."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from ops.backups.physical import OLDEST_MAJOR, replicating_server
from ops.checks import check_owner_login
from ops.health.watch import Lock, Watcher
from ops.models import Run
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import PoolerError
from ops.postgres.provisioning import Provisioning, provision
from ops.restores.drills.steps import rehearsal
from srvc.environment import BASE_DIR
from tests.harness import database
from tests.poolers.bouncer import Bouncer, needs_pgbouncer
from tests.poolers.conftest import Start, lead

pytestmark = needs_pgbouncer


def manage(pooled: Bouncer, var: Path, *arguments: str, **changes: str) -> Any:
    """Run `manage.py` in a process whose owner's address leads through the pooler."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "srvc.settings",
        "SRVC_VAR": str(var),
        "DATABASE_OWNER_URL": pooled.url("srvc_owner"),
        **changes,
    }
    return subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), *arguments],
        cwd=BASE_DIR,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def locks(name: str) -> int:
    """Count the advisory locks that are held in a database."""
    with database.connect(name) as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_an_endpoint_of_the_owner_is_refused(start: Start, mode: str) -> None:
    lead("owner", start(pool_mode=mode))
    owner = Endpoint.of("owner")
    with pytest.raises(PoolerError, match="DATABASE_DIRECT_URL"):
        owner.connect()
    with pytest.raises(PoolerError):
        owner.at("postgres").connect()
    # No program of PostgreSQL's is even looked for.
    with pytest.raises(PoolerError):
        owner.program("pg_dump")


def test_djangos_alias_of_the_owner_is_refused_and_closed(owner_behind: Bouncer) -> None:
    with pytest.raises(PoolerError):
        Run.objects.using("owner").count()
    assert connections["owner"].connection is None


def test_the_web_process_may_come_through_a_pooler(web_behind: Bouncer) -> None:
    with Endpoint.of("default").connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    connections["default"].ensure_connection()


def test_an_administrators_address_is_refused(pooled: Bouncer) -> None:
    address = {"host": "127.0.0.1", "port": pooled.port, "user": "srvc_owner"}
    address |= {"password": database.PASSWORD, "dbname": pooled.database}
    with pytest.raises(PoolerError):
        provision(Provisioning(address, pooled.database, {}))
    with pytest.raises(PoolerError):
        Endpoint.from_url(pooled.url("srvc_owner")).connect()


def test_replication_is_refused_in_the_poolers_own_words(pooled: Bouncer, settings: Any) -> None:
    settings.REPLICATION_URL = pooled.url("srvc_replication")
    found = Endpoint.replication()
    assert found is not None
    with pytest.raises(PoolerError, match="DATABASE_REPLICATION_URL"):
        found.connect()


def test_a_pooler_that_lets_replication_through_is_refused(start: Start, settings: Any) -> None:
    if Endpoint.of("owner").major < OLDEST_MAJOR:
        pytest.skip("base backups and WAL need a newer server")
    pooled = start(ignore_startup_parameters="replication")
    settings.REPLICATION_URL = pooled.url("srvc_owner")
    with pytest.raises(PoolerError):
        replicating_server()


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup"],
        ["health"],
        ["migrate"],
        ["worker", "--queue-name", "operations", "--batch"],
    ],
    ids=" ".join,
)
def test_a_command_says_so_before_it_does_anything(
    pooled: Bouncer, tmp_path: Path, arguments: list[str]
) -> None:
    done = manage(pooled, tmp_path / "var", *arguments)
    assert done.returncode == (2 if "health" in arguments else 1), done.stderr
    said = done.stdout + done.stderr
    assert "DATABASE_DIRECT_URL" in said
    assert "Traceback" not in said
    assert locks(pooled.database) == 0
    assert Run.objects.using("owner").count() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "--schema-only"],
        ["backups"],
        ["drill", "--latest"],
        ["health", "--nagios"],
        ["inspect", "jobs"],
        ["migrate", "--check"],
        ["recover", "--customer", "1", "--dry-run"],
        ["restore", "--latest", "--yes"],
        ["verify", "--latest"],
        ["walreceiver", "--once"],
        ["watch", "--once"],
    ],
    ids=" ".join,
)
def test_no_command_of_the_owners_gets_through(
    owner_behind: Bouncer, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises((CommandError, PoolerError, SystemExit)) as refused:
        call_command(*arguments)
    shown = capsys.readouterr()
    assert "DATABASE_DIRECT_URL" in f"{refused.value}{shown.out}{shown.err}"
    assert locks(owner_behind.database) == 0


def test_with_the_direct_address_beside_it_the_same_commands_work(
    pooled: Bouncer, tmp_path: Path
) -> None:
    direct = os.environ["DATABASE_OWNER_URL"]
    for arguments in (
        ["check", "--database", "default", "--database", "owner"],
        ["watch", "--once", "--verbosity", "0"],
    ):
        done = manage(
            pooled,
            tmp_path / "var",
            *arguments,
            DATABASE_URL=pooled.url("srvc_app"),
            DATABASE_DIRECT_URL=direct,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def test_a_check_names_the_variable(owner_behind: Bouncer) -> None:
    (message,) = check_owner_login(None, databases=["default", "owner"])
    assert message.id == "ops.E122"
    assert message.msg.startswith("DATABASE_OWNER_URL ")


def test_a_check_of_the_command_line_names_it(pooled: Bouncer, tmp_path: Path) -> None:
    done = manage(pooled, tmp_path / "var", "check", "--deploy", "--database", "owner")
    assert done.returncode != 0
    assert "ops.E122" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_watchers_cannot_both_have_the_lock(owner_behind: Bouncer) -> None:
    with pytest.raises(PoolerError):
        Lock().take()
    assert locks(owner_behind.database) == 0


def test_a_watcher_does_not_take_a_pooler_for_a_database_that_is_away(
    owner_behind: Bouncer,
) -> None:
    said: list[str] = []
    with pytest.raises(PoolerError):
        Watcher(say=said.append, note=said.append).turn()
    assert said == []


def test_the_worker_of_imports_needs_no_owner(owner_behind: Bouncer) -> None:
    quiet: dict[str, Any] = {"batch": True, "interval": 0, "startup_delay": False, "verbosity": 0}
    call_command("worker", queue_name="default", **quiet)
    with pytest.raises(CommandError, match="DATABASE_DIRECT_URL"):
        call_command("worker", queue_name="operations", **quiet)
    with pytest.raises(CommandError):
        call_command("worker", queue_name="*", **quiet)


def test_a_session_lock_outlives_its_holder_behind_a_pooler(start: Start) -> None:
    """The damage itself: why a watcher's lock may not be taken there."""
    pooled = start(server_reset_query_always="0")
    with pooled.connect("srvc_owner") as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
    assert locks(pooled.database) == 1
    with Endpoint.of("owner").connect() as other:
        assert other.execute("SELECT pg_try_advisory_lock(4711)").fetchone() == (False,)


def test_a_rehearsal_on_a_copy_is_not_led_to_the_live_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its process gets addresses of the copy; the direct one would win over them."""
    monkeypatch.setenv("DATABASE_DIRECT_URL", "postgres://srvc_owner:x@live.example.com/srvc")
    assert rehearsal._inherited()["DATABASE_DIRECT_URL"] == ""
