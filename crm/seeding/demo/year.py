"""The past year: work done, billed and paid, with the exceptions every business has."""

from __future__ import annotations

import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum, auto

from crm.models import Invoice, Job, JobStatus, PaymentMethod
from crm.models.currencies import minor_unit
from crm.seeding.demo.cast import Cast
from crm.seeding.trades import Work
from crm.services.documents import issue_invoice, recalculate, void_invoice, write_off_invoice
from crm.services.payments import record_payment, reverse_payment

_METHODS = (
    PaymentMethod.BANK_TRANSFER,
    PaymentMethod.CREDIT_CARD,
    PaymentMethod.CHECK,
    PaymentMethod.CASH,
)


class Outcome(Enum):
    """What became of an invoice."""

    PAID = auto()
    UNPAID = auto()
    HALF_PAID = auto()
    BOUNCED = auto()
    VOID = auto()
    WRITTEN_OFF = auto()
    DRAFT = auto()


# Days from today. Numbers are given in the order of days, so all are told in one pass.
_EXCEPTIONS = (
    (-190, Outcome.WRITTEN_OFF),
    (-130, Outcome.VOID),
    (-74, Outcome.UNPAID),
    (-61, Outcome.BOUNCED),
    (-52, Outcome.HALF_PAID),
    (-44, Outcome.UNPAID),
    (-22, Outcome.HALF_PAID),
    (-17, Outcome.UNPAID),
    (-13, Outcome.PAID),
    (-9, Outcome.UNPAID),
    (-6, Outcome.PAID),
    (-3, Outcome.UNPAID),
    (-2, Outcome.DRAFT),
    (-1, Outcome.DRAFT),
)
_ORDINARY_INVOICES = 54


def tell_year(cast: Cast) -> None:
    """A year of jobs, each with its invoice and what came in for it."""
    ordinary = [(cast.rng.randint(-360, -31), Outcome.PAID) for _ in range(_ORDINARY_INVOICES)]
    bills = sorted([*ordinary, *_EXCEPTIONS], key=lambda bill: bill[0])
    for offset, outcome in bills:
        work, day = cast.some_work(), cast.day(offset)
        job = do_job(cast, work, day)
        _bill(cast, job, work, day, outcome)


def do_job(cast: Cast, work: Work, day: datetime.date, status: JobStatus = JobStatus.CLOSED) -> Job:
    """A job that was done on a day."""
    customer = cast.someone()
    start = cast.at(day, cast.rng.randint(8, 14))
    end = start + datetime.timedelta(minutes=work.minutes)
    return Job.objects.create(
        customer=customer,
        site=cast.sites.get(customer.pk),
        assigned_to=cast.technician,
        title=work.title,
        status=status,
        scheduled_start=start,
        scheduled_end=end,
        started_at=start,
        completed_at=end,
        created_at=cast.at(day - datetime.timedelta(days=4), 9),
    )


def _bill(cast: Cast, job: Job, work: Work, day: datetime.date, outcome: Outcome) -> None:
    issued_at = cast.at(day, 18)
    invoice = Invoice.objects.create(
        customer=job.customer,
        site=job.site,
        job=job,
        title=work.title,
        issue_date=day,
        issued_at=issued_at,
        prices_include_tax=cast.account.prices_include_tax,
        created_at=issued_at,
    )
    cast.add_lines(invoice, work)
    if outcome is Outcome.DRAFT:
        # Not issued yet: no date either. The totals are added up as on every save.
        _leave_as_draft(invoice)
        return
    invoice = issue_invoice(invoice=invoice, by=cast.owner)
    if outcome is Outcome.VOID:
        void_invoice(invoice=invoice, reason="Billed to the wrong customer.", by=cast.owner)
    elif outcome is Outcome.WRITTEN_OFF:
        write_off_invoice(invoice=invoice, reason="The customer is insolvent.", by=cast.owner)
    elif outcome is not Outcome.UNPAID:
        _receive(cast, invoice, day, outcome)


def _leave_as_draft(invoice: Invoice) -> None:
    invoice.issue_date = invoice.issued_at = None
    invoice.save(update_fields=["issue_date", "issued_at"])
    recalculate(document=invoice)


def _receive(cast: Cast, invoice: Invoice, day: datetime.date, outcome: Outcome) -> None:
    amount = invoice.total
    if outcome is Outcome.HALF_PAID:
        unit = minor_unit(invoice.currency)
        amount = (invoice.total / Decimal(2)).quantize(unit, rounding=ROUND_HALF_UP)
    received_on = min(day + datetime.timedelta(days=cast.rng.randint(1, 28)), cast.today)
    method = PaymentMethod.CHECK if outcome is Outcome.BOUNCED else cast.rng.choice(_METHODS)
    payment = record_payment(
        customer=invoice.customer,
        amount=amount,
        received_on=received_on,
        method=method,
        reference=f"{invoice.label}",
        invoices=[invoice],
        by=cast.owner,
    )
    if outcome is Outcome.BOUNCED:
        reverse_payment(
            payment=payment,
            received_on=received_on + datetime.timedelta(days=3),
            reference="Check returned by the bank",
            by=cast.owner,
        )
