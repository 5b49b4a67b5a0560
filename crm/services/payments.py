"""Writes on payments: recording, allocating, reversing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from django.db import transaction

from crm.errors import CrmError
from crm.models import (
    Customer,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentAllocation,
    PaymentMethod,
    PaymentStatus,
    User,
)
from crm.services.refusals import told_by_the_database


@told_by_the_database
@transaction.atomic
def record_payment(
    *,
    customer: Customer,
    amount: Decimal,
    received_on: dt.date,
    by: User | None,
    method: str = PaymentMethod.BANK_TRANSFER,
    reference: str = "",
    external_id: str = "",
    invoices: Iterable[Invoice] = (),
) -> Payment:
    """Record money received and let it pay the invoices, in the order given, as far as it goes.

    What is left over stays on the payment as a deposit. Raises CrmError for an amount of zero or
    less and for an invoice that takes no payment.
    """
    payment = Payment.objects.create(
        account_id=customer.account_id,
        customer=customer,
        currency=customer.account.currency,
        amount=amount,
        received_on=received_on,
        method=method,
        reference=reference,
        external_id=external_id,
    )
    left = amount
    for invoice in invoices:
        share = min(left, invoice.total - invoice.allocated_total)
        if share > 0:
            allocate_payment(payment=payment, invoice=invoice, amount=share, by=by)
            left -= share
    payment.refresh_from_db()
    return payment


@told_by_the_database
@transaction.atomic
def pay_invoice(
    *,
    invoice: Invoice,
    received_on: dt.date,
    by: User | None,
    amount: Decimal | None = None,
    method: str = PaymentMethod.BANK_TRANSFER,
    reference: str = "",
) -> Payment:
    """Record a payment of one invoice: of all that is left, unless an amount is given.

    Raises CrmError for an invoice that is not issued or has nothing left to pay.
    """
    invoice = Invoice.objects.select_for_update(of=("self",)).get(pk=invoice.pk)
    left = invoice.total - invoice.allocated_total
    if invoice.status != InvoiceStatus.ISSUED or left <= 0:
        state = "paid" if invoice.status == InvoiceStatus.ISSUED else invoice.get_status_display()
        raise CrmError(f"The invoice is {state.lower()} and takes no payment. Nothing was changed.")
    return record_payment(
        customer=invoice.customer,
        amount=left if amount is None else amount,
        received_on=received_on,
        method=method,
        reference=reference,
        invoices=[invoice],
        by=by,
    )


@told_by_the_database
@transaction.atomic
def allocate_payment(
    *, payment: Payment, invoice: Invoice, amount: Decimal, by: User | None
) -> PaymentAllocation:
    """Let a part of a payment pay an invoice. The database refuses more than either has left."""
    return PaymentAllocation.objects.create(
        account_id=payment.account_id, payment=payment, invoice=invoice, amount=amount
    )


@told_by_the_database
@transaction.atomic
def reverse_payment(
    *, payment: Payment, received_on: dt.date, by: User | None, reference: str = ""
) -> Payment:
    """Take a payment back by a negative one, which also reopens the invoices it paid."""
    payment = Payment.objects.select_for_update().get(pk=payment.pk)
    if payment.status != PaymentStatus.COMPLETED or payment.amount < 0:
        raise CrmError(
            f"A {payment.get_status_display().lower()} payment can't be reversed. "
            "Nothing was changed."
        )
    reversal = Payment.objects.create(
        account_id=payment.account_id,
        customer_id=payment.customer_id,
        currency=payment.currency,
        amount=-payment.amount,
        received_on=received_on,
        method=payment.method,
        reference=reference,
        reverses=payment,
    )
    for allocation in payment.allocations.select_related("invoice"):
        allocate_payment(
            payment=reversal, invoice=allocation.invoice, amount=-allocation.amount, by=by
        )
    payment.status = PaymentStatus.REFUNDED
    payment.save(update_fields=["status"])
    reversal.refresh_from_db()
    return reversal
