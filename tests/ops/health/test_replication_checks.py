"""Checks of replication and of WAL that is kept, with a real standby and real slots."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from ops.backups.wal.slot import SLOT
from ops.health.checks import archive, backups, replication
from ops.health.checks.archive import wal_archive
from ops.health.checks.replication import (
    replication_lag,
    replication_slots,
    standby,
    wal_receiver,
)
from ops.health.checks.storage import wal_kept
from ops.health.checks.writing import writable
from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import run_checks
from ops.health.thresholds import Thresholds
from ops.models import Severity, WalSegment
from ops.postgres import configuration, roles, tools
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.postgres.processes import StreamingProcess
from ops.progress import Counter
from ops.rls.router import as_owner_by_default
from tests.harness import database
from tests.ops.backups.replicating import replicating_server, server_of_a_module  # noqa: F401
from tests.ops.health.conftest import Patient

server = server_of_a_module()
AT_ONCE = {"slot_inactive_seconds": 0.0}


@contextmanager
def slot(patient: Patient, name: str) -> Iterator[None]:
    patient.execute(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    try:
        yield
    finally:
        patient.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            f" WHERE slot_name = '{name}'"
        )


def write_wal(patient: Patient, segments: int) -> None:
    for _ in range(segments):
        patient.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))",
                        "SELECT pg_switch_wal()")  # fmt: skip


@contextmanager
def following(folder: Path) -> Iterator[EmbeddedServer]:
    """Run a standby of the tests' server; its own WAL can't be archived."""
    made = EmbeddedServer(
        folder / "standby",
        settings={
            **configuration.THROW_AWAY,
            "archive_mode": "on",
            "archive_command": "false",
        },
    )
    address = dict(database.admin())
    tools.run(
        tools.find("pg_basebackup", 18),
        f"--host={address['host']}", f"--username={roles.REPLICATION}",
        f"--pgdata={made.home}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
        seconds=tools.MINUTE, password=database.PASSWORD,
    )  # fmt: skip
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        for path in (made.home, *made.home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    try:
        made.start()
        yield made
    finally:
        made.destroy()


@contextmanager
def fail_over_of_the_web_login(server: EmbeddedServer) -> Iterator[None]:
    """Let the web process's login reach a standby, as an address that follows a fail-over may."""
    config = connections["default"].settings_dict
    before = {key: config[key] for key in ("HOST", "PORT")}
    config.update(HOST=str(server.socket), PORT="5432")
    try:
        yield
    finally:
        config.update(before)


class Looker:
    """Looks at a standby, remembering as between two runs."""

    def __init__(self, server: EmbeddedServer, database_name: str) -> None:
        self._endpoint = Endpoint(
            str(server.socket), "5432", roles.OWNER, database_name, database.PASSWORD
        )

    def found(self, check: Check, **limits: Any) -> dict[str, Reported]:
        context = Context(self._endpoint, timezone.now(), limits=Thresholds(**limits))
        with closing(context):
            (outcome,) = run_checks([check], context, {}, Counter())
        assert outcome.is_complete, outcome.reported
        return {each.key: each for each in outcome.reported}


def until(query: str, connection: psycopg.Connection[Any]) -> None:
    deadline = time.monotonic() + 60
    while not connection.execute(query).fetchone()[0]:  # type: ignore[index]
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


def later(patient: Patient, check: Check, seconds: float, **limits: Any) -> dict[str, Reported]:
    """Look as of later; what the check remembers is from the looks before."""
    context = Context(
        Endpoint.of("owner"), timezone.now() + timedelta(seconds=seconds),
        limits=Thresholds(**limits),
    )  # fmt: skip
    with closing(context):
        (outcome,) = run_checks([check], context, patient.memories, Counter())
    patient.memories[check.name] = outcome.memory
    assert outcome.is_complete, outcome.reported
    return {each.key: each for each in outcome.reported}


def test_without_standbys_and_slots_there_is_nothing_to_say(patient: Patient) -> None:
    for check in (replication_lag, standby, replication_slots, wal_receiver):
        assert patient.found(check) == {}


def test_a_standby_is_told_when_it_lags_pauses_and_receives_nothing(
    patient: Patient, scratch: Path
) -> None:
    with (
        following(scratch) as server,
        psycopg.connect(**server.connection, autocommit=True) as there,
    ):
        there.execute("SET application_name = 'x'")
        until("SELECT count(*) > 0 FROM pg_stat_wal_receiver", there)
        looker = Looker(server, patient.name)
        assert patient.found(replication_lag, replication_lag_seconds=3600) == {}
        assert looker.found(standby, replication_lag_seconds=3600) == {}
        assert looker.found(wal_kept) == looker.found(wal_receiver) == {}
        with fail_over_of_the_web_login(server):
            (told,) = patient.found(writable).values()
            assert (told.key, told.severity) == ("web", Severity.CRITICAL)
            assert "pg_is_in_recovery()" in told.detail
        assert patient.found(writable) == {}

        there.execute("SELECT pg_wal_replay_pause()")
        until("SELECT pg_get_wal_replay_pause_state() = 'paused'", there)
        paused = looker.found(standby)
        assert {each.key: each.severity for each in paused.values()} == {"paused": Severity.WARNING}
        write_wal(patient, 1)
        # By standing still it is known: what it replayed last was quick.
        assert later(patient, replication_lag, 0, replication_lag_seconds=3000) == {}
        (lagging,) = later(patient, replication_lag, 3600, replication_lag_seconds=3000).values()
        assert lagging.severity == Severity.WARNING
        assert lagging.key == "srvc on this machine"
        assert "has yet to replay" in lagging.detail
        assert "1 h 0 min behind" in lagging.detail
        by_bytes = patient.found(replication_lag, replication_lag_bytes=1)
        assert list(by_bytes) == ["srvc on this machine"]

        there.execute(paused["paused"].next_step)
        until("SELECT NOT pg_is_wal_replay_paused()", there)
        until(f"SELECT pg_last_wal_replay_lsn() >= '{position(patient)}'", there)
        assert looker.found(standby, replication_lag_seconds=3600) == {}

        there.execute("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere user=nobody'")
        there.execute("SELECT pg_reload_conf()")
        until("SELECT count(*) = 0 FROM pg_stat_wal_receiver", there)
        found = looker.found(standby, replication_lag_seconds=3600)
        assert {each.key: each.severity for each in found.values()} == {
            "receiver": Severity.CRITICAL
        }

        # On its own feet, it can't archive.
        there.execute("SELECT pg_promote()")
        there.execute("SELECT pg_switch_wal()")
        until("SELECT failed_count > 0 FROM pg_stat_archiver", there)
        found = looker.found(wal_kept)
        assert list(found) == ["archiver"]
        assert found["archiver"].severity == Severity.CRITICAL
        assert "nothing was archived so far" in found["archiver"].detail
        assert there.execute(found["archiver"].next_step).fetchone() == ("false",)
        there.execute("ALTER SYSTEM SET archive_command = 'true'")
        there.execute("SELECT pg_reload_conf()")
        until("SELECT archived_count > 0 FROM pg_stat_archiver", there)
        until("SELECT last_archived_time > last_failed_time FROM pg_stat_archiver", there)
        assert looker.found(wal_kept) == {}


def position(patient: Patient) -> str:
    return str(patient.execute("SELECT pg_current_wal_lsn()")[0][0])


def test_commits_that_wait_for_a_standby_that_is_away_are_critical(patient: Patient) -> None:
    try:
        change(patient, "synchronous_standby_names", "away")
        found = patient.found(standby)
        assert list(found) == ["synchronous"]
        assert found["synchronous"].severity == Severity.CRITICAL
        patient.execute(*found["synchronous"].next_step.splitlines())
        await_setting(patient, "synchronous_standby_names", "")
        assert patient.found(standby) == {}
    finally:
        change(patient, "synchronous_standby_names", "")
    assert patient.found(standby) == {}


def test_a_slot_that_nobody_reads_from_is_told_after_a_while_and_dropped(
    patient: Patient,
) -> None:
    with slot(patient, "orphaned"):
        assert patient.found(replication_slots) == {}  # it may be restarting
        found = later(patient, replication_slots, 3600)
        assert list(found) == ["orphaned"]
        assert found["orphaned"].severity == Severity.WARNING
        assert "For 1 h 0 min nobody has" in found["orphaned"].detail
        assert found["orphaned"].next_step.endswith("SELECT pg_drop_replication_slot('orphaned');")
        patient.execute(found["orphaned"].next_step)
        assert later(patient, replication_slots, 3600) == {}


def test_wal_that_a_slot_keeps_is_told_until_the_slot_is_lost(patient: Patient) -> None:
    assert patient.found(wal_kept) == {}
    with slot(patient, "slow"):
        write_wal(patient, 2)
        assert patient.found(wal_kept) == {}
        found = patient.found(wal_kept, wal_kept_bytes=1 << 20)
        assert found["slot slow"].severity == Severity.WARNING
        assert "At 4.3 GB the server gives it up" in found["slot slow"].detail
        change(patient, "max_slot_wal_keep_size", "-1")
        found = patient.found(wal_kept, wal_kept_bytes=1 << 20)
        assert found["slot slow"].severity == Severity.CRITICAL
        # What was not summarized yet is kept, whatever the limit.
        change(patient, "summarize_wal", "off")
        change(patient, "max_slot_wal_keep_size", "1MB")
        await_status(patient, "slow", "unreserved")
        found = patient.found(replication_slots)
        assert found["slow"].title == "The replication slot slow is about to be lost"
        assert found["slow"].severity == Severity.CRITICAL
        write_wal(patient, 1)
        patient.execute("CHECKPOINT")
        await_status(patient, "slow", "lost")
        found = patient.found(replication_slots)
        assert found["slow"].title == "The replication slot slow is lost"
        assert "wal_removed" in found["slow"].detail
        patient.execute(found["slow"].next_step)
        assert patient.found(replication_slots) == {}
    change(patient, "max_slot_wal_keep_size", "4GB")
    change(patient, "summarize_wal", "on")


def test_a_folder_of_wal_that_nothing_explains_is_told(patient: Patient) -> None:
    try:
        change(patient, "wal_keep_size", "1GB")
        change(patient, "max_wal_size", "32MB")
        write_wal(patient, 5)
        assert patient.found(wal_kept) == {}
        found = patient.found(wal_kept, wal_kept_bytes=0)
        assert list(found) == ["folder"]
        assert found["folder"].severity == Severity.WARNING
        assert ("wal_keep_size", "1024", "MB") in patient.execute(found["folder"].next_step)
    finally:
        patient.execute("ALTER SYSTEM RESET max_wal_size", "ALTER SYSTEM RESET wal_keep_size")
        patient.execute("SELECT pg_reload_conf()", "CHECKPOINT")


@pytest.mark.parametrize(
    ("production_like", "severity"), [(True, Severity.CRITICAL), (False, Severity.WARNING)]
)
def test_a_walreceiver_that_stopped_is_told(
    patient: Patient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    production_like: bool,
    severity: Severity,
) -> None:
    monkeypatch.setattr(replication, "OLDEST_MAJOR", 15)  # whatever the suite runs on
    settings.PRODUCTION_LIKE = production_like
    assert django_settings.REPLICATION_URL
    before = patient.found(wal_receiver)
    if production_like:
        assert before["missing"].severity == Severity.CRITICAL
        assert before["missing"].next_step == "manage.py walreceiver"
    else:
        assert before == {}
    with slot(patient, SLOT):
        assert patient.found(wal_receiver) == {}
        found = patient.found(wal_receiver, **AT_ONCE)
        assert {each.key: each.severity for each in found.values()} == {"stopped": severity}
        assert found["stopped"].next_step == "manage.py walreceiver"
        # Ours is told there alone.
        assert patient.found(replication_slots, **AT_ONCE) == {}
        settings.REPLICATION_URL = ""
        assert patient.found(wal_receiver, **AT_ONCE) == {}


def test_a_server_too_old_for_wal_is_told_once_with_a_way_out_and_not_as_critical(
    patient: Patient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PRODUCTION_LIKE = True
    monkeypatch.setattr(replication, "OLDEST_MAJOR", 99)
    monkeypatch.setattr(backups, "OLDEST_MAJOR", 99)
    found = patient.found(wal_receiver)
    assert {key: each.severity for key, each in found.items()} == {"version": Severity.WARNING}
    assert "DATABASE_REPLICATION_URL" in found["version"].next_step
    # No backup is late that nobody can take.
    patient.execute("UPDATE django_migrations SET applied = applied - interval '400 days'")
    late = patient.found(backups.backup_age)
    assert "age full" in late
    assert not {"age base", "age incremental"} & set(late)
    settings.REPLICATION_URL = ""
    assert patient.found(wal_receiver) == {}


def test_a_walreceiver_that_stores_nothing_is_told_apart_from_one_that_stopped(
    patient: Patient, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = dict(database.admin())
    with slot(patient, SLOT):
        with StreamingProcess(
            tools.find("pg_receivewal", 18), f"--host={address['host']}",
            f"--username={roles.REPLICATION}", f"--slot={SLOT}", f"--directory={scratch}",
            environment=tools.environment(database.PASSWORD),
        ), database.connect(patient.name) as connection:  # fmt: skip
            active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
            until(active, connection)
            stored = timezone.now() - timedelta(hours=1)
            with as_owner_by_default():
                WalSegment.objects.create(
                    segment="000000010000000000000001", timeline=1, object_name="wal/1", size=1,
                    system_identifier="7", start_lsn="0/1000000", end_lsn="0/2000000",
                    closed_at=stored, stored_at=stored,
                )  # fmt: skip
            # Time passes on a server that nobody writes to, too.
            assert patient.found(wal_archive) == {}
            monkeypatch.setattr(archive, "_WAITING", -1)
            found = patient.found(wal_archive)
            assert {each.key: each.severity for each in found.values()} == {
                "behind": Severity.WARNING
            }
            assert "has stored nothing for 1 h 0 min" in found["behind"].detail
            assert patient.found(wal_receiver, **AT_ONCE) == {}
        with database.connect(patient.name) as connection:
            until(active.replace("active", "NOT active", 1), connection)
        assert patient.found(wal_archive) == {}
        assert list(patient.found(wal_receiver, **AT_ONCE)) == ["stopped"]


def change(patient: Patient, setting: str, value: str) -> None:
    patient.execute(f"ALTER SYSTEM SET {setting} = '{value}'", "SELECT pg_reload_conf()")
    await_setting(patient, setting, value)


def await_setting(patient: Patient, setting: str, value: str) -> None:
    with database.connect(patient.name) as connection:
        until(f"SELECT current_setting('{setting}') = '{value}'", connection)


def await_status(patient: Patient, name: str, status: str) -> None:
    with database.connect(patient.name) as connection:
        until(
            f"SELECT wal_status = '{status}' FROM pg_replication_slots WHERE slot_name = '{name}'",
            connection,
        )
