"""Rights that reach past tables are told, and taken away as told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ops.health.checks.privileges import (
    expiring_passwords,
    parameter_rights,
    role_attributes,
    system_functions,
    untrusted_functions,
)
from ops.health.contract import Check
from ops.models import Severity
from tests.ops.health.conftest import Patient
from tests.ops.health.rolled_back import found_with, looked_at, steps

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
FUNCTIONS = "SELECT oid::regprocedure::text, proacl::text[] FROM pg_proc WHERE proacl IS NOT NULL"


@pytest.mark.parametrize(
    "check",
    [parameter_rights, system_functions, untrusted_functions, role_attributes, expiring_passwords],
    ids=lambda check: str(check.name),
)
def test_a_provisioned_server_has_none_of_it(patient: Patient, check: Check) -> None:
    assert patient.found(check) == {}


def test_settings_that_others_may_change(patient: Patient) -> None:
    faults = [
        "GRANT SET ON PARAMETER session_replication_role TO srvc_member",
        "CREATE ROLE srvc_test_dba",
        "GRANT SET ON PARAMETER zero_damaged_pages, log_duration TO srvc_test_dba",
        "GRANT ALTER SYSTEM ON PARAMETER log_duration TO srvc_test_dba",
        "GRANT SET ON PARAMETER log_duration TO PUBLIC",
    ]
    found = found_with(patient, parameter_rights, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "SET session_replication_role srvc_member": CRITICAL,
        "SET zero_damaged_pages srvc_test_dba": CRITICAL,
        "SET log_duration srvc_test_dba": WARNING,
        "ALTER SYSTEM log_duration srvc_test_dba": CRITICAL,
        "SET log_duration PUBLIC": CRITICAL,
    }
    assert found_with(patient, parameter_rights, *faults, *steps(found)) == {}


def test_functions_of_the_server_that_read_files(patient: Patient) -> None:
    faults = [
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION lo_import(text), pg_ls_dir(text) TO srvc_member",
        "CREATE ROLE srvc_test_monitor",
        "GRANT EXECUTE ON FUNCTION pg_stat_file(text) TO srvc_test_monitor",
        # What dblogs and the check of pg_hba.conf ask for.
        "GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO srvc_owner",
    ]
    found = found_with(patient, system_functions, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "functions PUBLIC": CRITICAL,
        "functions srvc_member": CRITICAL,
        "functions srvc_test_monitor": WARNING,
    }
    known = [faults[2], faults[4]]
    _, before = looked_at(patient, system_functions, *known, ask=FUNCTIONS)
    left, after = looked_at(patient, system_functions, *faults, *steps(found), ask=FUNCTIONS)
    assert (left, sorted(after)) == ({}, sorted(before))


def test_an_extension_that_connects_elsewhere(patient: Patient) -> None:
    ((there,),) = patient.execute(
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'dblink'"
    )
    if not there:
        pytest.skip("this server has no dblink")
    patient.execute("CREATE EXTENSION dblink SCHEMA public")
    found = patient.found(system_functions)
    assert {key: each.severity for key, each in found.items()} == {"dblink": WARNING}
    patient.execute(*found["dblink"].next_step.splitlines())
    assert patient.found(system_functions) == {}


def test_functions_in_languages_that_nothing_holds(patient: Patient) -> None:
    patient.execute(
        "CREATE FUNCTION added(int, int) RETURNS int LANGUAGE internal STRICT AS 'int4pl'",
        "CREATE FUNCTION fine() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
    )
    found = patient.found(untrusted_functions)
    assert {key: each.severity for key, each in found.items()} == {
        "public.added(integer, integer)": CRITICAL
    }
    patient.execute(*steps(found))
    assert patient.found(untrusted_functions) == {}
    assert patient.execute("SELECT fine()") == [(1,)]


def test_logins_that_can_give_themselves_more(patient: Patient) -> None:
    faults = [
        "CREATE ROLE srvc_test_maker LOGIN CREATEROLE",
        f'GRANT CONNECT ON DATABASE "{patient.name}" TO srvc_test_maker',
        "CREATE ROLE srvc_test_copier LOGIN REPLICATION",
        "CREATE ROLE srvc_test_group CREATEROLE REPLICATION",
    ]
    found = found_with(patient, role_attributes, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "srvc_test_maker CREATEROLE": WARNING,
        "srvc_test_copier REPLICATION": WARNING,
    }
    assert found_with(patient, role_attributes, *faults, *steps(found)) == {}


def until(days: int) -> str:
    moment = timezone.now() + timedelta(days=days)
    return f"ALTER ROLE srvc_app VALID UNTIL '{moment.isoformat()}'"


def test_passwords_that_end(patient: Patient) -> None:
    faults = [
        until(3),
        "ALTER ROLE srvc_replication VALID UNTIL '2020-01-01'",
        "ALTER ROLE srvc_owner VALID UNTIL 'infinity'",
    ]
    found = found_with(patient, expiring_passwords, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "role srvc_app": WARNING,
        "role srvc_replication": CRITICAL,
    }
    assert found_with(patient, expiring_passwords, *faults, *steps(found)) == {}
    assert found_with(patient, expiring_passwords, until(99)) == {}
