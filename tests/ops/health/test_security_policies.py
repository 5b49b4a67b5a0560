"""Policies that are slow, or that let through more than somebody meant, are told one by one."""

from __future__ import annotations

from ops.health.checks.policy_shapes import (
    open_policies,
    overlapping_policies,
    policies_per_row,
    policies_without_index,
)
from ops.models import Severity
from tests.ops.health.conftest import Patient

ACCOUNT = "current_setting('app.account_id', true)::bigint"


def test_a_function_that_is_called_for_every_row_is_put_into_a_sub_select(patient: Patient) -> None:
    assert patient.found(policies_per_row) == {}
    patient.execute(
        f"ALTER POLICY job_member ON jobs USING (user_id = {ACCOUNT})"
        f" WITH CHECK (user_id = (SELECT {ACCOUNT}) AND lower(title) <> ')')",
        "CREATE FUNCTION may_see(bigint) RETURNS boolean LANGUAGE sql STABLE"
        " AS 'SELECT $1 > 0' SET search_path = public, pg_temp",
        "ALTER POLICY quote_member ON quotes USING (may_see(user_id))",
        "ALTER POLICY invoice_member ON invoices USING"
        " (EXISTS (SELECT FROM accounts a WHERE a.user_id = invoices.user_id))",
        # Always the same, a cast, the session's user: nothing to read once.
        "ALTER POLICY payment_member ON payments USING (user_id = length(current_user)"
        " AND created_at < '2026-01-01'::text::date)",
    )
    found = patient.found(policies_per_row)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        "public.invoices.invoice_member": (
            Severity.WARNING,
            "The policy invoice_member of public.invoices runs a sub-select for every row",
        ),
        "public.jobs.job_member": (
            Severity.WARNING,
            "The policy job_member of public.jobs calls current_setting for every row",
        ),
        "public.quotes.quote_member": (
            Severity.WARNING,
            "The policy quote_member of public.quotes calls may_see for every row",
        ),
    }
    jobs = found["public.jobs.job_member"]
    assert jobs.subject == "policy job_member of public.jobs"
    assert jobs.next_step.startswith("ALTER POLICY job_member ON public.jobs\n  USING (")
    assert found["public.quotes.quote_member"].next_step == "manage.py inspect public.quotes"
    patient.execute(jobs.next_step)
    assert set(patient.found(policies_per_row)) == set(found) - {"public.jobs.job_member"}


def test_a_policys_column_needs_an_index_that_starts_with_it(patient: Patient) -> None:
    assert patient.found(policies_without_index) == {}
    patient.execute(
        "CREATE TABLE notes (id bigint PRIMARY KEY, user_id bigint)",
        "CREATE INDEX ON notes (id, user_id)",
        "CREATE INDEX ON notes (user_id) WHERE id > 0",
        f"CREATE POLICY one ON notes TO srvc_member USING (user_id = (SELECT {ACCOUNT}))",
        f"CREATE POLICY two ON notes TO srvc_public USING (user_id = (SELECT {ACCOUNT}))",
    )
    (found,) = patient.found(policies_without_index).values()
    assert (found.key, found.severity) == ("public.notes.user_id", Severity.WARNING)
    assert found.title == (
        "No index of public.notes starts with user_id, which its policy asks for"
    )
    assert found.next_step == "CREATE INDEX CONCURRENTLY ON public.notes (user_id);"
    patient.execute(found.next_step)
    assert patient.found(policies_without_index) == {}


def test_of_two_policies_for_a_role_the_one_nobody_declared_goes(patient: Patient) -> None:
    assert patient.found(overlapping_policies) == {}
    patient.execute(
        "CREATE POLICY everybody ON jobs FOR SELECT USING (title <> '')",
        "CREATE POLICY restrictive ON quotes AS RESTRICTIVE TO srvc_member USING (true)",
        "CREATE TABLE notes (id bigint PRIMARY KEY)",
        "CREATE POLICY one ON notes FOR UPDATE TO srvc_member USING (id > 1)",
        "CREATE POLICY two ON notes FOR UPDATE TO srvc_member USING (id > 2)",
        "CREATE POLICY three ON notes FOR DELETE TO srvc_member USING (id > 2)",
    )
    found = patient.found(overlapping_policies)
    assert {key: each.severity for key, each in found.items()} == dict.fromkeys(
        ["public.jobs.srvc_admin", "public.jobs.srvc_member", "public.notes.srvc_member"],
        Severity.WARNING,
    )
    jobs = found["public.jobs.srvc_member"]
    assert jobs.title == "public.jobs has 2 policies for srvc_member at once"
    assert jobs.detail.startswith("everybody, job_member all apply to SELECT: a row that one of")
    assert jobs.next_step == "DROP POLICY everybody ON public.jobs;"
    notes = found["public.notes.srvc_member"]
    assert "one, three, two all apply to UPDATE:" in notes.detail
    assert notes.next_step == "manage.py inspect public.notes"
    patient.execute(jobs.next_step, "DROP TABLE notes")
    assert patient.found(overlapping_policies) == {}


def test_a_policy_that_is_always_true_is_told_unless_settings_know_it(patient: Patient) -> None:
    assert patient.found(open_policies) == {}
    patient.execute(
        "ALTER POLICY job_member ON jobs USING (1 = 1) WITH CHECK (1 = 1)",
        "ALTER POLICY quote_member ON quotes USING (true)",
        f"ALTER POLICY invoice_member ON invoices USING (({ACCOUNT}) IS NULL OR user_id = 1)",
        "ALTER POLICY payment_member ON payments"
        f" USING (user_id = 1 OR NOT ({ACCOUNT} IS NOT NULL))",
        "ALTER POLICY plan_public ON subscription_plans USING (true)",
        # None of these lets a row through that it should not.
        "CREATE POLICY narrower ON products AS RESTRICTIVE TO srvc_member USING (true)",
        f"ALTER POLICY product_member ON products USING (({ACCOUNT}) IS NULL AND user_id = 1)",
        "ALTER POLICY customer_member ON customers USING (false)"
        " WITH CHECK (user_id IS NULL OR id = 1)",
    )
    found = patient.found(open_policies)
    assert {key: each.severity for key, each in found.items()} == {
        "public.invoices.invoice_member": Severity.CRITICAL,
        "public.jobs.job_member": Severity.CRITICAL,
        "public.payments.payment_member": Severity.CRITICAL,
        "public.quotes.quote_member": Severity.CRITICAL,
        "public.subscription_plans.plan_public": Severity.WARNING,
    }
    jobs = found["public.jobs.job_member"]
    assert jobs.title == (
        "The policy job_member lets srvc_member see and change every row of public.jobs"
    )
    assert jobs.detail == (
        "USING (1 = 1) and WITH CHECK (1 = 1) is true always, and the rows belong to accounts "
        "(user_id)."
    )
    assert "is true as soon as the session says nothing of itself" in (
        found["public.invoices.invoice_member"].detail
    )
    assert jobs.next_step == "DROP POLICY job_member ON public.jobs;"
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(open_policies) == {}
