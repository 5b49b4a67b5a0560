"""What logins may, and how they prove who they are, is told with the SQL that ends it.

Roles belong to the whole server, and other tests run on it: what is planted here is seen by the
check within the transaction that plants it, and never committed.
"""

from __future__ import annotations

import pytest
from django.conf import settings

from ops.health.checks.logins import (
    application_login,
    judge_rule,
    password_storage,
    powerful_roles,
    trusted_connections,
)
from ops.health.steps import as_superuser
from ops.models import CheckState, Severity
from tests.ops.health.conftest import Patient
from tests.ops.health.rolled_back import found_with

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def test_what_the_web_process_may_too_much_is_critical(patient: Patient) -> None:
    assert patient.found(application_login) == {}
    faults = [
        "GRANT pg_read_all_data TO srvc_member",
        "CREATE ROLE srvc_test_other",
        "GRANT srvc_test_other TO srvc_app",
        "ALTER ROLE srvc_public CREATEDB",
        "ALTER TABLE jobs OWNER TO srvc_admin",
    ]
    found = found_with(patient, application_login, *faults)
    assert {key: each.severity for key, each in found.items()} == {
        "srvc_member in pg_read_all_data": CRITICAL,
        "srvc_app in srvc_test_other": WARNING,
        "srvc_public CREATEDB": WARNING,
        "ops.E102 srvc_admin": CRITICAL,
    }
    step = found["srvc_member in pg_read_all_data"].next_step
    assert step == as_superuser("REVOKE pg_read_all_data FROM srvc_member;")
    mended = [*faults, *(each.next_step for each in found.values())]
    assert found_with(patient, application_login, *mended) == {}


def test_a_web_process_that_signs_in_as_a_superuser_is_critical(patient: Patient) -> None:
    fault = "ALTER ROLE srvc_app SUPERUSER"
    (found,) = found_with(patient, application_login, fault).values()
    assert (found.key, found.severity) == ("ops.E101 srvc_app NOSUPERUSER", CRITICAL)
    assert found.title == (
        "srvc_app is a superuser, so rows of one account would be open to another."
    )
    assert found_with(patient, application_login, fault, found.next_step) == {}


def test_logins_that_see_past_row_security_are_told(patient: Patient) -> None:
    assert patient.found(powerful_roles) == {}
    faults = [
        "CREATE ROLE srvc_test_reader LOGIN BYPASSRLS",
        "CREATE ROLE srvc_test_data LOGIN IN ROLE pg_read_all_data",
        "CREATE ROLE srvc_test_elsewhere LOGIN BYPASSRLS",
        "CREATE ROLE srvc_test_nobody BYPASSRLS",
        f"GRANT CONNECT ON DATABASE {patient.name} TO srvc_test_reader, srvc_test_data",
    ]
    found = found_with(patient, powerful_roles, *faults)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        "role srvc_test_reader": (WARNING, "srvc_test_reader may sign in and has BYPASSRLS"),
        "role srvc_test_data": (
            WARNING,
            "srvc_test_data may sign in and is a member of pg_read_all_data",
        ),
    }
    mended = [*faults, *(each.next_step for each in found.values())]
    assert found_with(patient, powerful_roles, *mended) == {}


def test_more_superusers_than_a_server_needs_are_told(patient: Patient) -> None:
    faults = [f"CREATE ROLE srvc_test_{number} LOGIN SUPERUSER" for number in range(3)]
    found = found_with(patient, powerful_roles, *faults)["superusers"]
    assert found.severity == WARNING
    assert "superusers may sign in: " in found.title
    assert found.next_step.endswith("ALTER ROLE srvc_test_2 NOSUPERUSER;")
    assert "superusers" not in found_with(
        patient, powerful_roles, *faults, *found.next_step.splitlines()
    )


def test_passwords_that_are_kept_as_md5_are_told(patient: Patient) -> None:
    assert patient.found(password_storage) == {}
    faults = [
        "CREATE ROLE srvc_test_old LOGIN PASSWORD 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        "SET LOCAL password_encryption = 'md5'",
    ]
    found = found_with(patient, password_storage, *faults)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        "password_encryption": (WARNING, "New passwords are kept as MD5"),
        "role srvc_test_old": (WARNING, "The password of srvc_test_old is kept as MD5"),
    }
    # A new password is asked for; none at all would shut out whoever uses it.
    assert found["role srvc_test_old"].next_step == as_superuser("\\password srvc_test_old")
    mended = [*faults, "ALTER ROLE srvc_test_old PASSWORD NULL"]
    assert list(found_with(patient, password_storage, *mended)) == ["password_encryption"]


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        (("local", ["all"], ["all"], "", "trust"), WARNING),
        (("host", ["all"], ["all"], "127.0.0.1", "trust"), WARNING),
        (("hostssl", ["all"], ["all"], "192.0.2.0", "trust"), CRITICAL),
        (("host", ["srvc"], ["srvc_app"], "10.0.0.0", "password"), CRITICAL),
        (("host", ["all"], ["all"], "10.0.0.0", "scram-sha-256"), None),
        (("hostssl", ["all"], ["all"], "10.0.0.0", "password"), None),
        (("local", ["all"], ["all"], "", "peer"), None),
    ],
)
def test_lines_that_let_people_in_without_a_password_are_judged(
    line: tuple[str, list[str], list[str], str, str], severity: Severity | None
) -> None:
    assert [each.severity for each in judge_rule(*line)] == ([severity] if severity else [])


def test_how_people_prove_who_they_are_is_read_where_it_may_be_read(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert patient.run(trusted_connections).state == CheckState.WELL
    monkeypatch.setattr(settings, "PRODUCTION_LIKE", True)
    outcome = patient.run(trusted_connections)
    assert outcome.state == CheckState.BLIND
    told = outcome.reported[0]
    assert told.detail.startswith(
        "Who may sign in without a password (pg_hba.conf) can't be seen by srvc_owner."
    )
    patient.execute(*told.next_step.splitlines())
    lines = patient.execute("SELECT auth_method FROM pg_hba_file_rules WHERE error IS NULL")
    expected = CheckState.FOUND if ("trust",) in lines else CheckState.WELL
    assert patient.run(trusted_connections).state == expected
