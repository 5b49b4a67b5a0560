"""What a login or a database begins with is looked at, and taken back as told."""

from __future__ import annotations

import pytest

from ops.health.checks.dangerous import is_off, is_on, leads_astray
from ops.health.checks.server_settings import session_settings
from ops.models import Severity
from tests.ops.health.conftest import Patient
from tests.ops.health.rolled_back import looked_at, steps

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
ALL = """
    SELECT s.setdatabase, s.setrole, c FROM pg_db_role_setting s, unnest(s.setconfig) c
    ORDER BY 1, 2, 3
"""


def test_nothing_is_said_of_what_provisioning_sets(patient: Patient) -> None:
    assert patient.found(session_settings) == {}


def test_a_setting_that_switches_rules_off_is_told_and_taken_back(patient: Patient) -> None:
    name = patient.name
    harmless = [
        f'ALTER DATABASE "{name}" SET search_path = "$user", public, extensions',
        "ALTER ROLE srvc_owner SET work_mem = '64MB'",
        "CREATE ROLE srvc_test_stranger LOGIN",
        "CREATE ROLE srvc_test_elsewhere LOGIN",
        "ALTER ROLE srvc_test_elsewhere SET session_replication_role = replica",
        f'GRANT CONNECT ON DATABASE "{name}" TO srvc_test_stranger',
        "ALTER ROLE srvc_test_stranger SET search_path = theirs",
    ]
    faults = [
        "ALTER ROLE srvc_app SET session_replication_role = replica",
        f"ALTER ROLE srvc_app IN DATABASE \"{name}\" SET app.account_id = '7'",
        "ALTER ROLE srvc_owner SET pgtrigger.ignore = '{jobs:b_frozen}'",
        "ALTER ROLE srvc_app SET role = srvc_admin",
        "ALTER ROLE srvc_owner SET search_path = evil, public",
        f'ALTER DATABASE "{name}" SET synchronous_commit = off',
        "ALTER ROLE ALL SET zero_damaged_pages = yes",
        "ALTER ROLE srvc_replication SET password_encryption = md5",
        "ALTER ROLE srvc_test_stranger SET session_replication_role = replica",
        f'ALTER ROLE srvc_app IN DATABASE "{name}" SET lock_timeout = 0',
    ]
    nothing, before = looked_at(patient, session_settings, *harmless, ask=ALL)
    assert nothing == {}
    found, _ = looked_at(patient, session_settings, *harmless, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "ROLE srvc_app session_replication_role": CRITICAL,
        f"ROLE srvc_app IN DATABASE {name} app.account_id": CRITICAL,
        "ROLE srvc_owner pgtrigger.ignore": CRITICAL,
        "ROLE srvc_app role": CRITICAL,
        "ROLE srvc_owner search_path": CRITICAL,
        f"DATABASE {name} synchronous_commit": WARNING,
        "ROLE ALL zero_damaged_pages": CRITICAL,
        "ROLE srvc_replication password_encryption": WARNING,
        "ROLE srvc_test_stranger session_replication_role": WARNING,
        f"ROLE srvc_app IN DATABASE {name} lock_timeout": WARNING,
    }
    left, after = looked_at(patient, session_settings, *harmless, *faults, *steps(found), ask=ALL)
    assert left == {}
    # The number of a role that is made anew is another.
    assert [(row[0], row[2]) for row in after] == [(row[0], row[2]) for row in before]


@pytest.mark.parametrize("fault", ["SET statement_timeout = 0", "RESET statement_timeout"])
def test_a_web_process_without_limits_is_told(patient: Patient, fault: str) -> None:
    fault = f"ALTER ROLE srvc_app {fault}"
    found, _ = looked_at(patient, session_settings, fault)
    assert {key: each.severity for key, each in found.items()} == {
        "srvc_app statement_timeout missing": WARNING
    }
    left, after = looked_at(patient, session_settings, fault, *steps(found), ask=ALL)
    _, before = looked_at(patient, session_settings, ask=ALL)
    assert (left, after) == ({}, before)
    longer = "ALTER ROLE srvc_app SET statement_timeout = '2min'"
    assert looked_at(patient, session_settings, longer)[0] == {}


@pytest.mark.parametrize(
    ("value", "off", "on"),
    [
        ("off", True, False), ("OF", True, False), ("f", True, False), ("no", True, False),
        ("0", True, False), ("on", False, True), ("t", False, True), ("YES", False, True),
        ("1", False, True), ("o", False, False), ("local", False, False), ("", False, False),
    ],
)  # fmt: skip
def test_booleans_are_read_as_postgresql_reads_them(value: str, off: bool, on: bool) -> None:
    assert (is_off(value), is_on(value)) == (off, on)


@pytest.mark.parametrize(
    ("path", "astray"),
    [
        ("public", False), ('"$user", public', False), ("pg_catalog, public, reports", False),
        ("reports, public", True), ("reports", True), ("", True), ("pg_temp, public", True),
    ],
)  # fmt: skip
def test_a_search_path_leads_astray_by_what_comes_before_public(path: str, astray: bool) -> None:
    assert leads_astray(path) is astray
