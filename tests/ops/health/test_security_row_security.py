"""Row security that is off, or that leaves a role without a policy, is told with what mends it."""

from __future__ import annotations

from ops.health.checks.row_security import missing_policies, row_security, unprotected_tables
from ops.models import Severity
from tests.ops.health.conftest import Patient


def test_row_security_that_is_off_is_told_table_by_table(patient: Patient) -> None:
    assert patient.found(row_security) == {}
    patient.execute(
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE customers_history NO FORCE ROW LEVEL SECURITY",
    )
    found = patient.found(row_security)
    assert {key: each.severity for key, each in found.items()} == {
        "public.jobs": Severity.CRITICAL,
        "public.customers_history": Severity.WARNING,
    }
    jobs = found["public.jobs"]
    assert jobs.title == "Row security is off on public.jobs"
    assert jobs.subject == "table public.jobs"
    assert jobs.detail.startswith(
        "It has 2 policies (job_admin, job_member), which count for nothing: every role that may "
        "read the table reads the rows of all accounts"
    )
    assert jobs.next_step == (
        "ALTER TABLE public.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    )
    assert "srvc_owner, who owns the table" in found["public.customers_history"].detail
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(row_security) == {}


def test_a_table_of_accounts_without_policies_is_told_as_soon_as_members_reach_it(
    patient: Patient,
) -> None:
    assert patient.found(unprotected_tables) == {}
    patient.execute("CREATE TABLE notes (id bigint PRIMARY KEY, user_id bigint, text text)")
    assert patient.found(unprotected_tables) == {}
    patient.execute(
        "GRANT SELECT ON notes TO srvc_member", "GRANT UPDATE (text) ON notes TO PUBLIC"
    )
    (found,) = patient.found(unprotected_tables).values()
    assert (found.key, found.severity) == ("public.notes", Severity.CRITICAL)
    assert found.title == "public.notes has rows of many accounts and no row security"
    assert "Its column user_id says whose a row is, and srvc_member and PUBLIC may" in found.detail
    patient.execute(found.next_step, "CREATE INDEX ON notes (user_id)")
    assert patient.found(unprotected_tables) == {}
    assert patient.found(row_security) == patient.found(missing_policies) == {}


def test_each_role_of_a_request_needs_a_policy(patient: Patient) -> None:
    assert patient.found(missing_policies) == {}
    patient.execute(
        "DROP POLICY jobs_history_member ON jobs_history",
        "DROP POLICY job_admin ON jobs",
        "GRANT SELECT ON quotes TO srvc_public",
        "CREATE TABLE notes (id bigint PRIMARY KEY)",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
    )
    found = patient.found(missing_policies)
    assert {key: each.severity for key, each in found.items()} == dict.fromkeys(
        [
            "public.jobs.srvc_admin",
            "public.jobs_history.srvc_member",
            "public.notes",
            "public.quotes.srvc_public",
        ],
        Severity.WARNING,
    )
    history = found["public.jobs_history.srvc_member"]
    assert history.title == "public.jobs_history has no policy for srvc_member"
    assert history.detail == (
        "Row security is on, so staff of a business see no row of it and can add none, without an "
        "error. It has policies for srvc_admin."
    )
    assert found["public.quotes.srvc_public"].next_step == (
        "REVOKE ALL ON public.quotes FROM srvc_public;"
    )
    assert found["public.notes"].title == "public.notes has row security and not one policy"
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(missing_policies) == {}


def test_a_policy_without_a_condition_lets_nothing_through(patient: Patient) -> None:
    patient.execute(
        "DROP POLICY plan_public ON subscription_plans",
        "CREATE POLICY plan_public ON subscription_plans FOR INSERT TO srvc_public",
    )
    (found,) = patient.found(missing_policies).values()
    assert (found.key, found.severity) == (
        "public.subscription_plans.plan_public",
        Severity.WARNING,
    )
    assert found.detail == (
        "It has neither USING nor WITH CHECK. PostgreSQL takes that for no, so srvc_public may not "
        "INSERT."
    )
    patient.execute(found.next_step)
    assert list(patient.found(missing_policies)) == ["public.subscription_plans.srvc_public"]
