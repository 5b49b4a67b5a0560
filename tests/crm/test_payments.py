"""Payments: what they pay, how they are taken back, and what the database refuses."""

import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from crm.errors import CrmError
from crm.models import Invoice, Payment, PaymentAllocation, User
from crm.services.documents import issue_invoice
from crm.services.payments import allocate_payment, record_payment, reverse_payment
from ops.rls.session import acting_as
from tests.factories import A_DAY, make_business, make_customer, make_invoice

D = Decimal


@pytest.fixture
def owner(db: None) -> User:
    return make_business()


def test_a_payment_pays_invoices_in_order_and_keeps_the_rest_as_deposit(owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        first, second = (
            issue_invoice(invoice=make_invoice(customer, price), by=owner)
            for price in ("100", "50")
        )
        payment = record_payment(
            customer=customer, amount=D(180), received_on=A_DAY, by=owner, invoices=[first, second]
        )
        assert list(Invoice.objects.order_by("id").values_list("balance", flat=True)) == [0, 0]
        assert payment.unallocated == D("30.00")
        assert list(Payment.objects.unallocated()) == [payment]


def test_a_reversal_opens_the_invoice_again(owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        invoice = issue_invoice(invoice=make_invoice(customer, "100"), by=owner)
        payment = record_payment(
            customer=customer, amount=D(100), received_on=A_DAY, by=owner, invoices=[invoice]
        )
        assert not Invoice.objects.unpaid().exists()
        reversal = reverse_payment(payment=payment, received_on=A_DAY, by=owner)
        assert (reversal.amount, reversal.allocated_total) == (D("-100.00"), D("-100.00"))
        assert Invoice.objects.unpaid().get().balance == D("100.00")
        with pytest.raises(CrmError, match="A refunded payment can't be reversed"):
            reverse_payment(payment=payment, received_on=A_DAY, by=owner)


def test_a_payment_is_reversed_whole_and_once_also_by_raw_sql(owner: User) -> None:
    reverse = """
        INSERT INTO payments (user_id, customer_id, reverses_id, amount, currency, received_on)
        SELECT user_id, customer_id, id, %s, currency, received_on FROM payments WHERE amount > 0
    """
    with acting_as(owner):
        record_payment(customer=make_customer(), amount=D(100), received_on=A_DAY, by=owner)
        with (
            pytest.raises(IntegrityError, match="A reversal takes a payment back whole"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(reverse, [D(-99)])
        with connection.cursor() as cursor:
            cursor.execute(reverse, [D(-100)])
        with (
            pytest.raises(IntegrityError, match="payment_reversed_once"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(reverse, [D(-100)])


def test_never_more_is_allocated_than_was_paid_or_asked_for(owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        invoice = issue_invoice(invoice=make_invoice(customer, "100"), by=owner)
        large = record_payment(customer=customer, amount=D(500), received_on=A_DAY, by=owner)
        small = record_payment(customer=customer, amount=D(5), received_on=A_DAY, by=owner)
        with pytest.raises(CrmError, match="More is allocated to the invoice than it asks for"):
            allocate_payment(payment=large, invoice=invoice, amount=D("100.01"), by=owner)
        with pytest.raises(CrmError, match="More is allocated than was paid"):
            allocate_payment(payment=small, invoice=invoice, amount=D("5.01"), by=owner)
        assert not PaymentAllocation.objects.exists()


def test_a_draft_takes_no_payment_and_a_pending_payment_pays_nothing(owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        draft = make_invoice(customer, "100")
        payment = record_payment(customer=customer, amount=D(5), received_on=A_DAY, by=owner)
        with pytest.raises(CrmError, match="A draft or void invoice takes no payment"):
            allocate_payment(payment=payment, invoice=draft, amount=D(5), by=owner)
        issued = issue_invoice(invoice=draft, by=owner)
        pending = Payment.objects.create(
            customer=customer, currency="USD", amount=5, received_on=A_DAY, status="pending"
        )
        with pytest.raises(CrmError, match="Only a completed payment pays invoices"):
            allocate_payment(payment=pending, invoice=issued, amount=D(5), by=owner)


def test_a_payment_pays_no_other_customers_invoice(owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        payment = record_payment(customer=make_customer(), amount=D(9), received_on=A_DAY, by=owner)
        with pytest.raises(CrmError, match="A payment pays invoices of its own customer only"):
            allocate_payment(payment=payment, invoice=invoice, amount=D(9), by=owner)


@pytest.mark.parametrize("amount", ["0", "-5"])
def test_a_payment_is_more_than_zero(owner: User, amount: str) -> None:
    with acting_as(owner), pytest.raises(CrmError, match="A payment is more than zero"):
        record_payment(customer=make_customer(), amount=D(amount), received_on=A_DAY, by=owner)


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE payments SET amount = 1", "The payment is completed and can't be changed"),
        ("DELETE FROM payments", "The payment is completed and can't be deleted"),
        ("UPDATE payments SET allocated_total = 3", "follows from payment allocations"),
        ("UPDATE invoices SET allocated_total = 3", "follows from payment allocations"),
        ("DELETE FROM payment_allocations", "An allocation is never changed"),
        ("UPDATE payment_allocations SET amount = 1", "An allocation is never changed"),
    ],
)
def test_payments_and_allocations_are_append_only(
    owner: User, statement: str, refusal: str
) -> None:
    with acting_as(owner):
        customer = make_customer()
        invoice = issue_invoice(invoice=make_invoice(customer, "10"), by=owner)
        record_payment(
            customer=customer, amount=D(9), received_on=A_DAY, by=owner, invoices=[invoice]
        )
        with (
            pytest.raises(IntegrityError, match=refusal),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_two_tills_at_once_never_overpay_an_invoice(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
        invoice = issue_invoice(invoice=make_invoice(customer, "100"), by=owner)
        payments = [
            record_payment(customer=customer, amount=D(60), received_on=A_DAY, by=owner)
            for _ in range(4)
        ]
    barrier = threading.Barrier(len(payments))
    refused: list[str] = []

    def pay(payment: Payment) -> None:
        barrier.wait()
        try:
            with acting_as(owner):
                allocate_payment(payment=payment, invoice=invoice, amount=D(60), by=owner)
        except CrmError as error:
            refused.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=pay, args=(payment,)) for payment in payments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    with acting_as(owner):
        assert Invoice.objects.get().balance == D("40.00")
