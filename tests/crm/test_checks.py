"""What only crm knows is looked at by health checks: the business's rules, imports that wait."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from crm.checks import stuck_imports
from crm.models import ImportKind, ImportRun, ImportStatus
from crm.services.documents import issue_invoice
from ops.health.checks.rows import invariants_hold, orphans
from ops.models import CheckState, Severity
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import account_of, make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.health.conftest import Patient, patient

__all__ = ["patient"]


def test_an_invoice_that_is_not_the_sum_of_its_lines_is_named_until_it_is(
    patient: Patient,
) -> None:
    owner = make_business()
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "100.00")
        issue_invoice(invoice=invoice, by=owner)
    assert patient.found(invariants_hold, deep=True) == {}
    patient.execute(
        "SET session_replication_role = replica",
        f"UPDATE invoice_lines SET net = 99 WHERE invoice_id = {invoice.pk}",
    )
    found = patient.found(invariants_hold, deep=True)
    told = found["invoice_sums"]
    assert (told.severity, told.title) == (
        Severity.CRITICAL,
        "Not true: Every sent invoice has lines, and its subtotal is what they add up to.",
    )
    assert told.detail.startswith(f"1 case contradicts it: invoices {invoice.pk}: ")
    assert len(patient.execute(told.next_step)) == 1
    patient.execute(
        "SET session_replication_role = replica",
        f"UPDATE invoice_lines SET net = 100 WHERE invoice_id = {invoice.pk}",
    )
    assert patient.found(invariants_hold, deep=True) == {}


def test_a_customer_deleted_with_triggers_off_is_told_by_the_check_of_references_alone(
    patient: Patient,
) -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
        make_invoice(customer, "100.00")
    patient.execute(
        "SET session_replication_role = replica", f"DELETE FROM customers WHERE id = {customer.pk}"
    )
    assert patient.found(invariants_hold, deep=True) == {}
    (told,) = patient.found(orphans, deep=True).values()
    assert told.key == "public.invoices.invoice_customer_same_account"


def test_a_rule_whose_table_is_gone_is_not_taken_for_kept(patient: Patient) -> None:
    patient.execute("DROP TABLE payment_allocations CASCADE")
    outcome = patient.run(invariants_hold, deep=True)
    assert outcome.state == CheckState.BLIND
    assert "There is no table public.payment_allocations." in outcome.reported[0].detail


@pytest.mark.parametrize(
    ("status", "title", "next_step"),
    [
        (ImportStatus.QUEUED, "Import {} waits", "manage.py worker --queue-name default"),
        (ImportStatus.RUNNING, "Import {} was left in the middle", "UPDATE public.imports SET "),
    ],
)
def test_an_import_that_nobody_works_on_is_told_after_an_hour(
    patient: Patient, status: ImportStatus, title: str, next_step: str
) -> None:
    run = imported(patient, status, minutes=70)
    (told,) = patient.found(stuck_imports).values()
    assert (told.key, told.severity) == (str(run), Severity.WARNING)
    assert told.title == title.format(run)
    assert told.next_step.startswith(next_step)
    if status == ImportStatus.RUNNING:
        patient.execute(told.next_step)
        assert patient.found(stuck_imports) == {}


def test_an_import_that_somebody_works_on_or_just_queued_is_well(patient: Patient) -> None:
    imported(patient, ImportStatus.QUEUED, minutes=50)
    assert patient.found(stuck_imports) == {}
    run = imported(patient, ImportStatus.RUNNING, minutes=300)
    with database.connect(patient.name) as other, other.transaction():
        hold(other, run)
        assert patient.found(stuck_imports) == {}
    assert sorted(patient.found(stuck_imports)) == [str(run)]


def imported(patient: Patient, status: ImportStatus, *, minutes: int) -> int:
    owner = make_business()
    with acting_as_admin(via="test"):
        run = ImportRun.objects.create(
            account=account_of(owner), kind=ImportKind.CUSTOMERS, status=status
        )
    since = timezone.now() - timedelta(minutes=minutes)
    patient.execute(
        "SET session_replication_role = replica",
        f"UPDATE imports SET updated_at = '{since.isoformat()}' WHERE id = {run.pk}",
    )
    return run.pk


def hold(connection: psycopg.Connection[tuple[object, ...]], run: int) -> None:
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('crm.imports.run ' || %s, 0))", [run]
    )
