"""What is issued stays as it is, whichever door the change comes through."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from crm.errors import CrmError
from crm.models import Invoice, InvoiceLine, Quote, QuoteLine, User
from crm.services.documents import (
    decide_quote,
    issue_invoice,
    recalculate,
    send_quote,
    void_invoice,
)
from crm.services.payments import record_payment
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import A_DAY, make_business, make_customer, make_invoice, make_quote

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_business(time_zone="Pacific/Auckland")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET total = total + 1, subtotal = subtotal + 1",
        "UPDATE invoices SET customer_id = customer_id, title = 'other'",
        "UPDATE invoices SET number = 99",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET unit_price = 1",
        "DELETE FROM invoice_lines",
        """
        INSERT INTO invoice_lines (user_id, invoice_id, description, unit_price)
        SELECT user_id, id, 'one more', 1 FROM invoices
        """,
    ],
)
def test_an_issued_invoice_refuses_raw_sql_by_member_and_administrator(
    owner: User, statement: str
) -> None:
    with acting_as(owner):
        issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        with (
            pytest.raises(IntegrityError, match="The invoice is issued and"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    with (
        pytest.raises(IntegrityError, match="The invoice is issued and"),
        acting_as_admin(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_an_issued_invoice_refuses_bulk_updates_of_the_orm(owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        with pytest.raises(IntegrityError, match="can't be changed"), transaction.atomic():
            Invoice.objects.update(title="other")
        with pytest.raises(IntegrityError, match="can't be changed"), transaction.atomic():
            InvoiceLine.objects.update(net=1)
        invoice.refresh_from_db()
        assert (invoice.title, invoice.total) == ("", Decimal("10.00"))


def test_a_draft_can_be_changed_and_deleted(owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
        InvoiceLine.objects.create(invoice=invoice, description="More", unit_price=Decimal(5))
        assert recalculate(document=invoice).total == Decimal(15)
        invoice.delete()
        assert not Invoice.objects.exists()


def test_issue_takes_the_days_of_the_accounts_time_zone_and_terms(owner: User) -> None:
    with acting_as(owner), connection.cursor() as cursor:
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        cursor.execute("SELECT (now() AT TIME ZONE 'Pacific/Auckland')::date")
        today = cursor.fetchone()[0]
        assert invoice.issue_date == today
        assert invoice.due_date == today + dt.timedelta(days=30)


def test_totals_that_are_not_the_lines_sum_are_not_issued(owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
        Invoice.objects.filter(pk=invoice.pk).update(subtotal=11, total=11)
        with (
            pytest.raises(IntegrityError, match=r"lines add up to 10\.00, its subtotal is 11\.00"),
            transaction.atomic(),
        ):
            Invoice.objects.filter(pk=invoice.pk).update(status="issued")


def test_a_void_needs_a_reason_and_no_payment_and_keeps_the_number(owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        invoice = issue_invoice(invoice=make_invoice(customer, "10"), by=owner)
        with pytest.raises(CrmError, match="Say why the invoice is void"):
            void_invoice(invoice=invoice, reason="", by=owner)
        invoice = void_invoice(invoice=invoice, reason="Wrong customer", by=owner)
        assert (invoice.status, invoice.number) == ("void", 1)
        paid = issue_invoice(invoice=make_invoice(customer, "10"), by=owner)
        record_payment(
            customer=customer, amount=Decimal(1), received_on=A_DAY, by=owner, invoices=[paid]
        )
        with pytest.raises(CrmError, match="A draft or void invoice takes no payment"):
            void_invoice(invoice=paid, reason="Too late", by=owner)


def test_an_issued_invoice_never_becomes_a_draft_again(owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        with (
            pytest.raises(IntegrityError, match="The invoice is issued and can't become draft"),
            transaction.atomic(),
        ):
            Invoice.objects.filter(pk=invoice.pk).update(status="draft")


def test_a_sent_quote_is_frozen_until_changes_are_requested(owner: User) -> None:
    with acting_as(owner):
        quote = send_quote(quote=make_quote(make_customer(), "100"), by=owner)
        assert (quote.label, quote.revision) == ("Q-00001", 1)
        with pytest.raises(IntegrityError, match="The quote is sent"), transaction.atomic():
            QuoteLine.objects.update(unit_price=1)
        Quote.objects.update(status="changes_requested")
        QuoteLine.objects.update(unit_price=90)
        quote = send_quote(quote=quote, by=owner)
        assert (quote.number, quote.revision, quote.total) == (1, 2, Decimal("90.00"))


def test_an_accepted_quote_is_frozen_for_good(owner: User) -> None:
    with acting_as(owner):
        quote = send_quote(quote=make_quote(make_customer(), "100"), by=owner)
        quote = decide_quote(quote=quote, accepted=True, by=owner)
        assert quote.decided_at is not None
        with pytest.raises(IntegrityError, match="The quote is accepted"), transaction.atomic():
            Quote.objects.update(title="other")
        with pytest.raises(IntegrityError, match="The quote is accepted"), transaction.atomic():
            QuoteLine.objects.all()._raw_delete("default")


def test_a_discount_above_the_lines_is_refused(owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
        invoice.discount_total = Decimal(11)
        with pytest.raises(CrmError, match=r"discount of \$11\.00 is larger than the lines"):
            recalculate(document=invoice)
