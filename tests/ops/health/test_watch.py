"""The watcher does what is due, alone, waits for a database that is away, and tells of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from ops.health import watch
from ops.health.contract import Check, Reported
from ops.models import Area, CheckResult, Finding, Notice, Sample, Severity
from ops.restores.accounts import kept
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from srvc.environment import BASE_DIR
from tests.ops.health.conftest import Patient

MINUTE = timedelta(minutes=1)
SICK = Check(
    "sick", Area.STORAGE, "Sickness", "",
    lambda context: [Reported("x", Severity.CRITICAL, "It is sick")], 1.0, timedelta(minutes=10),
)  # fmt: skip
CHECKS = (SICK,)


@pytest.fixture(autouse=True)
def watching(patient: Patient, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.HEALTH_NOTIFY_EMAILS = ["ops@example.com"]
    # Looked up where they are used: a dotted path would name the test runner's module.
    for module in ("ops.health.selection.all_checks", "ops.health.look.all_checks"):
        monkeypatch.setattr(module, lambda: list(CHECKS))
    with as_owner_by_default():
        yield


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now


def watcher(clock: Clock | None = None) -> tuple[watch.Watcher, list[str]]:
    said: list[str] = []
    made = watch.Watcher(say=said.append, note=lambda text: None, clock=clock or Clock())
    return made, said


def test_a_tick_does_what_is_due_and_nothing_twice() -> None:
    now = timezone.now()
    assert watch.tick(now) == watch.Ticked(checks=1, sent=1)
    assert Finding.objects.get().title == "It is sick"
    assert [each.subject for each in mail.outbox] == ["[SRVC development] Critical: It is sick"]
    assert Sample.objects.filter(metric="database_bytes").count() == 1
    works = dict(Sample.objects.filter(metric="watch_seconds").values_list("subject", "taken_at"))
    assert works == {"tick": now, "tidying": now}
    assert watch.tick(now + MINUTE) == watch.Ticked(checks=0, sent=0)
    assert watch.tick(now + 5 * MINUTE).checks == 0
    assert Sample.objects.filter(metric="database_bytes").count() == 2
    assert watch.tick(now + 10 * MINUTE) == watch.Ticked(checks=1, sent=0)
    assert CheckResult.objects.get().ran_at > now
    assert Sample.objects.filter(metric="watch_seconds").count() == 2


def test_every_tick_tidies_what_settings_name(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR, settings.ACCOUNT_ARCHIVE_HOURS = tmp_path, 3
    archive = kept.new_export(encrypted=False)
    archive.write_bytes(b"of an account")
    now = timezone.now()
    watch.tick(now)
    watch.tick(now + timedelta(hours=2, minutes=59))
    assert archive.exists()
    watch.tick(now + timedelta(hours=3, minutes=1))
    assert not archive.exists()


def test_one_watches_at_a_time_and_another_takes_over() -> None:
    first, _ = watcher()
    second, said = watcher()
    assert first.turn() > 0
    assert second.turn() == watch.EVERY
    second.turn()
    with pytest.raises(CommandError, match="Another watcher is at work") as refused:
        call_command("watch", "--once", stdout=StringIO())
    assert refused.value.returncode == 4
    first.close()
    second.turn()
    second.close()
    assert said == [
        "another watcher is at work; standing by",
        "the other watcher is gone; watching",
    ]
    call_command("watch", "--once", stdout=StringIO())


def test_a_session_that_a_swap_ends_is_opened_again(patient: Patient) -> None:
    one, said = watcher()
    one.turn()
    patient.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{patient.name}' AND pid <> pg_backend_pid()"
    )
    assert one.turn() > 0
    one.close()
    assert said == []


def test_a_database_that_is_away_is_waited_for_and_told_of_once(patient: Patient) -> None:
    clock = Clock()
    clock.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    one, said = watcher(clock)
    patient_port = connections[OWNER].settings_dict["PORT"]
    connections[OWNER].settings_dict["PORT"] = "1"
    pauses = []
    for _ in range(9):
        pauses.append(one.turn())
        clock.now += timedelta(seconds=pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(said) == 1
    assert said[0].startswith("the database does not answer; waiting for it. srvc_owner cannot")
    connections[OWNER].settings_dict["PORT"] = patient_port
    one.turn()
    one.close()
    assert said[1] == "the database answers again; it did not from 2026-11-22 12:00 to 12:04 UTC"
    about = [str(each.subject).removeprefix("[SRVC development] ") for each in mail.outbox]
    assert about[0].startswith("The database does not answer since 2026-11-22 12:00 UTC. srvc_own")
    assert about[1:] == [
        "The database answers again. It did not from 2026-11-22 12:00 to 12:04 UTC.",
        "Critical: It is sick",
    ]


def test_a_moment_of_absence_and_quiet_hours_tell_nobody(settings: Any) -> None:
    settings.HEALTH_QUIET_HOURS = "00:00-23:59"
    settings.HEALTH_TIME_ZONE = "UTC"
    clock = Clock()
    clock.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    one, _ = watcher(clock)
    connections[OWNER].settings_dict["PORT"] = "1"
    for _ in range(4):
        one.turn()
        clock.now += MINUTE
    assert mail.outbox == []
    settings.HEALTH_QUIET_HOURS = ""
    two, _ = watcher(clock)
    two.turn()
    clock.now += timedelta(seconds=59)
    two.turn()
    assert mail.outbox == []


def test_what_does_not_work_is_said_once(patient: Patient) -> None:
    patient.execute("ALTER TABLE ops_finding RENAME TO elsewhere")
    one, said = watcher()
    one.turn()
    one.turn()
    patient.execute("ALTER TABLE elsewhere RENAME TO ops_finding")
    one.turn()
    one.close()
    assert len(said) == 2
    assert said[0].endswith("has no tables for findings yet; run `manage.py migrate`.")
    assert said[1].startswith("the database takes findings again")


def test_people_are_told_of_a_database_that_is_set_read_only(patient: Patient) -> None:
    clock = Clock()
    clock.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    one, said = watcher(clock)
    patient.execute(f"ALTER DATABASE {patient.name} SET default_transaction_read_only = on")
    for _ in range(4):
        one.turn()
        clock.now += MINUTE
    assert len(said) == 1
    assert "takes no writes" in said[0]
    (told,) = mail.outbox
    assert "does not take findings since 2026-11-22 12:00 UTC" in str(told.subject)
    patient.execute(
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {patient.name} RESET default_transaction_read_only",
    )
    one.turn()
    one.close()
    assert len(said) == 2
    about = [str(each.subject) for each in mail.outbox[1:]]
    assert [each for each in about if "takes findings again" in each] == about[-1:]


def test_asked_to_stop_it_lets_a_message_go_out_and_nothing_else() -> None:
    stop, done = watch.Stop(), []

    def send() -> None:
        with stop.held():
            stop.ask()
            done.append("sent")

    with pytest.raises(KeyboardInterrupt):
        send()
    assert done == ["sent"]
    with pytest.raises(KeyboardInterrupt):
        watch.Stop().ask()


def test_the_command_watches_until_a_signal_ends_it_in_order() -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "watch"],
        cwd=BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not CheckResult.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    lines = [line.partition(" watch: ")[2] for line in said.splitlines()]
    assert lines[0] == "watching development"
    assert lines[-1] == "ended in order"


def test_channels_are_tried_by_hand(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    call_command("watch", "--try-channels", stdout=out)
    assert out.getvalue() == "email: sent\n"
    assert mail.outbox[0].to == ["ops@example.com"]
    settings.HEALTH_NOTIFY_WEBHOOK_URL = "http://127.0.0.1:1/secret"
    errors = StringIO()
    with pytest.raises(CommandError, match="Not every channel works"):
        call_command("watch", "--try-channels", stdout=out, stderr=errors)
    assert errors.getvalue() == (
        "webhook: The webhook could not be reached (Connection refused).\n"
    )
    settings.HEALTH_NOTIFY_EMAILS, settings.HEALTH_NOTIFY_WEBHOOK_URL = [], ""
    with pytest.raises(CommandError, match="Nobody is told about findings"):
        call_command("watch", "--try-channels")
    assert not Notice.objects.exists()
