"""Rights that nobody declared, and what they reach past row security, are told with the REVOKE."""

from __future__ import annotations

from ops.health.checks.exposed import sensitive_columns, unprotected_copies, views_past_policies
from ops.health.checks.granted import public_rights, undeclared_rights
from ops.models import Severity
from tests.ops.health.conftest import Patient

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def test_what_everybody_may_is_told_and_taken_away(patient: Patient) -> None:
    assert patient.found(public_rights) == {}
    patient.execute(
        "GRANT SELECT ON jobs TO PUBLIC",
        "GRANT UPDATE (title), INSERT (title) ON quotes TO PUBLIC",
        "GRANT SELECT ON auth_group TO PUBLIC",
        "GRANT USAGE ON SEQUENCE jobs_id_seq TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "CREATE SCHEMA reports",
        "GRANT CREATE ON SCHEMA reports TO srvc_member",
        f"GRANT CONNECT ON DATABASE {patient.name} TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE srvc_owner IN SCHEMA public GRANT SELECT ON TABLES"
        " TO PUBLIC",
    )
    found = patient.found(public_rights)
    assert {key: each.severity for key, each in found.items()} == {
        "public.jobs": WARNING,  # its policies hold everybody, too
        "public.quotes": CRITICAL,
        "public.auth_group": CRITICAL,
        "public.jobs_id_seq": CRITICAL,
        "schema public.PUBLIC": CRITICAL,
        "schema reports.srvc_member": CRITICAL,
        "database": WARNING,
        "defaults srvc_owner.public.TABLES": WARNING,
    }
    quotes = found["public.quotes"]
    assert quotes.title == "Everybody may INSERT, UPDATE on public.quotes"
    assert quotes.detail.startswith("PUBLIC was granted it on title: every login that enters")
    assert quotes.next_step == "REVOKE ALL ON public.quotes FROM PUBLIC;"
    assert found["schema reports.srvc_member"].title == (
        "srvc_member may create objects in the schema reports"
    )
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(public_rights) == {}


def test_rights_that_are_nowhere_declared_are_told(patient: Patient) -> None:
    assert patient.found(undeclared_rights) == {}
    patient.execute(
        "GRANT DELETE ON django_session TO srvc_member",
        "GRANT TRUNCATE, TRIGGER ON jobs TO srvc_member",
        "GRANT SELECT ON jobs, customers, quotes TO pg_monitor",
        "CREATE TABLE notes (id bigint PRIMARY KEY)",
    )
    found = patient.found(undeclared_rights)
    assert {key: each.severity for key, each in found.items()} == {
        "public.django_session": CRITICAL,
        "public.jobs.srvc_member": CRITICAL,
        "role pg_monitor": WARNING,
        "public.notes": Severity.INFO,
    }
    jobs = found["public.jobs.srvc_member"]
    assert jobs.title == "srvc_member may TRUNCATE, TRIGGER on public.jobs, past its policies"
    assert "one statement empties the table of every account" in jobs.detail
    assert found["public.django_session"].next_step == "manage.py migrate"
    assert found["role pg_monitor"].title == (
        "pg_monitor, who is no role of SRVC, has rights on public.customers, public.jobs, "
        "public.quotes"
    )
    patient.execute(
        jobs.next_step,
        found["role pg_monitor"].next_step,
        "REVOKE DELETE ON django_session FROM srvc_member",
        "DROP TABLE notes",
    )
    assert patient.found(undeclared_rights) == {}


def test_sensitive_columns_are_for_sign_in_and_behind_policies_alone(patient: Patient) -> None:
    assert patient.found(sensitive_columns) == {}
    patient.execute(
        "CREATE TABLE cards (id bigint PRIMARY KEY, iban text, card_number text, pins_left int,"
        ' "API-Key" text, token_count int, label text)',
        "GRANT SELECT (id, iban, token_count) ON cards TO srvc_member",
        "GRANT SELECT, UPDATE ON cards TO srvc_app",
        "GRANT INSERT ON cards TO PUBLIC",
        "GRANT SELECT ON cards TO pg_monitor",
        "GRANT SELECT (password) ON users TO PUBLIC",
    )
    found = patient.found(sensitive_columns)
    assert {key: each.severity for key, each in found.items()} == {
        "public.cards.srvc_member": CRITICAL,
        "public.cards.pg_monitor": CRITICAL,
        "public.users.PUBLIC": CRITICAL,
    }
    assert found["public.users.PUBLIC"].title == "everybody reads password of public.users"
    assert found["public.cards.srvc_member"].title == "srvc_member reads iban of public.cards"
    assert "no row policy holds it there" in found["public.cards.srvc_member"].detail
    assert found["public.cards.pg_monitor"].title == (
        "pg_monitor reads iban, card_number, API-Key of public.cards"
    )
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(sensitive_columns) == {}


def test_a_view_that_reads_with_its_owners_rights_is_told(patient: Patient) -> None:
    patient.execute("CREATE VIEW unseen AS SELECT * FROM jobs")
    assert patient.found(views_past_policies) == {}
    patient.execute(
        "CREATE VIEW upper_jobs AS SELECT * FROM unseen",
        "CREATE VIEW groups AS SELECT * FROM auth_group",
        "CREATE VIEW mine WITH (security_invoker = on) AS SELECT * FROM jobs",
        "GRANT SELECT ON upper_jobs, groups, mine TO srvc_member",
    )
    found = patient.found(views_past_policies)
    assert {key: each.severity for key, each in found.items()} == {
        "public.upper_jobs": CRITICAL,
        "public.groups": WARNING,
    }
    assert found["public.upper_jobs"].detail == (
        "srvc_member may use it, and row security does not hold it: it shows every account's rows "
        "of public.jobs."
    )
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(views_past_policies) == {}


def test_what_row_security_can_not_be_put_on_is_told_when_it_is_within_reach(
    patient: Patient,
) -> None:
    patient.execute(
        "CREATE MATERIALIZED VIEW copied AS SELECT * FROM jobs",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE FOREIGN TABLE far (id bigint) SERVER elsewhere",
    )
    assert patient.found(unprotected_copies) == {}
    patient.execute(
        "GRANT SELECT ON copied TO srvc_member, PUBLIC", "GRANT SELECT ON far TO PUBLIC"
    )
    found = patient.found(unprotected_copies)
    assert {key: each.severity for key, each in found.items()} == {
        "public.copied": CRITICAL,
        "public.far": WARNING,
    }
    copied = found["public.copied"]
    assert copied.title == ("The materialized view public.copied is open to PUBLIC and srvc_member")
    assert "rows of every account out of public.jobs among it" in copied.detail
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(unprotected_copies) == {}
