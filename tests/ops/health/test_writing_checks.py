"""A site that can't write is critical, and a run that could not be recorded is never healthy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections

from ops.health.checks.writing import writable
from ops.health.steps import needs_superuser
from ops.models import CheckState, Severity
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient
from tests.ops.health.stepping import take

SETTING = "default_transaction_read_only"


def close_aliases() -> None:
    """A session keeps the settings that it began with."""
    for alias in database.ALIASES:
        connections[alias].close()


def test_logins_that_can_write_are_fine_and_nothing_is_left_of_the_try(patient: Patient) -> None:
    counted = "SELECT n_tup_del, n_dead_tup FROM pg_stat_user_tables WHERE relname='django_session'"
    before = patient.execute(counted)
    assert patient.found(writable) == {}
    assert patient.execute(counted) == before


@pytest.mark.parametrize(
    ("plant", "logins", "by_superuser"),
    [
        ("ALTER DATABASE {database} SET {setting} = on", ["owner", "web"], False),
        ("ALTER ROLE srvc_app IN DATABASE {database} SET {setting} = on", ["web"], True),
        ("ALTER ROLE srvc_owner IN DATABASE {database} SET {setting} = on", ["owner"], True),
    ],
)
def test_a_login_that_is_set_read_only_is_critical_and_its_step_takes_it_back(
    patient: Patient, plant: str, logins: list[str], by_superuser: bool
) -> None:
    patient.execute(plant.format(database=patient.name, setting=SETTING))
    found = patient.found(writable)
    assert sorted(found) == logins
    assert {each.severity for each in found.values()} == {Severity.CRITICAL}
    step = found[logins[0]].next_step
    assert needs_superuser(step) == by_superuser
    take(patient, step)
    assert patient.found(writable) == {}


def test_a_right_that_is_missing_is_told_with_what_the_server_says(patient: Patient) -> None:
    patient.execute("REVOKE DELETE ON django_session FROM srvc_app")
    (found,) = patient.found(writable).values()
    assert (found.key, found.severity) == ("web", Severity.CRITICAL)
    assert "django_session" in found.detail
    close_aliases()
    take(patient, found.next_step)
    assert patient.found(writable) == {}


def test_a_login_that_can_not_sign_in_is_not_taken_for_one_that_writes(patient: Patient) -> None:
    patient.execute(f"REVOKE CONNECT ON DATABASE {patient.name} FROM srvc_app")
    assert patient.run(writable).state == CheckState.BLIND


def test_a_table_that_is_locked_is_not_waited_for(patient: Patient) -> None:
    with database.connect(patient.name) as other:
        other.execute("BEGIN; LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
        assert patient.run(writable).state == CheckState.BLIND


@contextmanager
def read_only(patient: Patient) -> Iterator[None]:
    close_aliases()
    patient.execute(f"ALTER DATABASE {patient.name} SET {SETTING} = on")
    try:
        yield
    finally:
        patient.execute(f"SET {SETTING} = off", f"ALTER DATABASE {patient.name} RESET {SETTING}")
        close_aliases()


def test_a_run_that_could_not_be_recorded_never_ends_with_0(
    patient: Patient, manage: Manage
) -> None:
    # A check that finds nothing: all that is wrong is that nothing can be recorded.
    arguments = ["--check", "clock_skew"]
    assert manage("health", *arguments).status == 0
    with read_only(patient):
        ended = manage("health", *arguments)
        assert (ended.status, "all is well" in ended.out) == (1, False)
        assert "could not be recorded" in ended.out
        assert manage("health", *arguments, "--fail-on", "critical").status == 1
        told = manage("health", *arguments, "--json")
        assert (told.status, told.json["exit"], told.json["worst"]) == (1, 1, None)
        assert told.json["not_recorded"]
        nagios = manage("health", *arguments, "--nagios")
        assert (nagios.status, "well" in nagios.out) == (3, False)
        assert manage("health", "--check", "writable").status == 2
    assert manage("health", *arguments).status == 0
