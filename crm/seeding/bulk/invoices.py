"""Invoices and payments of one account, told in the order of days."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

from crm.models import InvoiceStatus, PaymentMethod, PaymentStatus
from crm.seeding.bulk.context import Context
from crm.seeding.bulk.documents import Draft, draft, moment
from crm.seeding.bulk.work import DoneJob

_TERM = datetime.timedelta(days=30)
_METHODS = (
    PaymentMethod.BANK_TRANSFER,
    PaymentMethod.CREDIT_CARD,
    PaymentMethod.CHECK,
    PaymentMethod.CASH,
)
_NOTHING = Decimal("0.00")


def add_invoices(context: Context, jobs: Sequence[DoneJob]) -> None:
    """An invoice for each job and what came in for it: drafts, void, paid, partial, overdue."""
    for job in jobs:
        content = draft(job.work, context.account)
        status = _status(context, job.day)
        drafted, void = status == InvoiceStatus.DRAFT, status == InvoiceStatus.VOID
        received_on, paid = _paid(context, job.day, content)
        if drafted or void:
            paid = _NOTHING
        invoice = context.new_id("invoices")
        context.add_document(
            "invoices",
            content,
            job.id,
            None,
            "Billed twice." if void else "",
            None if drafted else job.day + _TERM,
            None if drafted else moment(job.day, 18),
            paid,
            id=invoice,
            day=job.day,
            number=None if drafted else context.number("invoice"),
            customer=job.customer,
            title=job.work.title,
            status=status,
        )
        if paid:
            _add_payment(context, job.customer, invoice, received_on, paid)


def _status(context: Context, day: datetime.date) -> InvoiceStatus:
    chance = context.rng.random()
    if day > context.today - datetime.timedelta(days=7) and chance < 0.3:
        return InvoiceStatus.DRAFT
    return InvoiceStatus.VOID if chance > 0.985 else InvoiceStatus.ISSUED


def _paid(context: Context, day: datetime.date, content: Draft) -> tuple[datetime.date, Decimal]:
    """When money came in, and how much: mostly all of it, sometimes half or nothing yet."""
    rng = context.rng
    received_on = day + datetime.timedelta(days=rng.randint(0, 40))
    chance, total = rng.random(), content.totals.total
    if received_on > context.today or chance < 0.06:
        return received_on, _NOTHING
    return received_on, (total / 2).quantize(Decimal("0.01")) if chance < 0.1 else total


def _add_payment(
    context: Context, customer: int, invoice: int, received_on: datetime.date, amount: Decimal
) -> None:
    account, at, payment = context.account, moment(received_on, 12), context.new_id("payments")
    context.rows.add(
        "payments", payment, account.id, at, at, customer, amount, account.country.currency,
        context.rng.choice(_METHODS), PaymentStatus.COMPLETED, received_on, f"T{payment:08d}",
        amount,
    )  # fmt: skip
    context.rows.add("payment_allocations", account.id, at, at, payment, invoice, amount)
