"""The present: quotes in every state, today's jobs, what is planned and what is stuck."""

from __future__ import annotations

import datetime

from crm.models import Job, JobPriority, JobStatus, Quote
from crm.seeding.demo.cast import Cast
from crm.seeding.demo.year import do_job
from crm.services.conversion import invoice_from_quote, job_from_quote
from crm.services.documents import (
    decide_quote,
    issue_invoice,
    recalculate,
    request_quote_changes,
    send_quote,
)
from crm.services.payments import record_payment
from crm.services.work import schedule_job

_VALID = datetime.timedelta(days=30)


def tell_quotes(cast: Cast) -> None:
    """Quotes in the order of days: declined, expired, converted, accepted, open, draft."""
    declined = _send(cast, -70)
    decide_quote(
        quote=declined, accepted=False, reason="Went with a neighbour's offer.", by=cast.owner
    )
    _send(cast, -50)  # nobody answered: expired
    done = decide_quote(quote=_send(cast, -12), accepted=True, by=cast.owner)
    _do_quoted_work(cast, done)
    agreed = decide_quote(quote=_send(cast, -8), accepted=True, by=cast.owner)
    record_payment(
        customer=agreed.customer,
        amount=(agreed.total * 4 / 10).quantize(agreed.total),
        received_on=cast.day(-5),
        reference=f"Deposit for {agreed.label}",
        by=cast.owner,
    )
    request_quote_changes(quote=_send(cast, -6), by=cast.owner)
    _send(cast, -3)
    _send(cast, -1)
    for offset in (-1, 0):
        recalculate(document=_draft(cast, offset))


def _draft(cast: Cast, offset: int) -> Quote:
    customer, work, day = cast.someone(), cast.some_work(), cast.day(offset)
    quote = Quote.objects.create(
        customer=customer,
        site=cast.sites.get(customer.pk),
        title=work.title,
        prices_include_tax=cast.account.prices_include_tax,
        issue_date=day,
        valid_until=day + _VALID,
        created_at=cast.at(day, 9),
    )
    cast.add_lines(quote, work)
    return quote


def _send(cast: Cast, offset: int) -> Quote:
    return send_quote(quote=_draft(cast, offset), by=cast.owner)


def _do_quoted_work(cast: Cast, quote: Quote) -> None:
    """The quote became a planned job and an invoice."""
    job = job_from_quote(quote=quote, by=cast.owner)
    start = cast.at(cast.day(2), 9)
    schedule_job(job=job, start=start, end=start + datetime.timedelta(hours=3), by=cast.owner)
    issue_invoice(invoice=invoice_from_quote(quote=quote, by=cast.owner), by=cast.owner)


def tell_jobs(cast: Cast) -> None:
    """Jobs around today."""
    for offset in (-2, -1):
        do_job(cast, cast.some_work(), cast.day(offset), JobStatus.COMPLETED)  # to be invoiced
    _plan(cast, -1, 15)  # nobody came: late
    _plan(cast, 0, 8, status=JobStatus.IN_PROGRESS)
    for hour in (10, 13, 15):
        _plan(cast, 0, hour)
    _plan(cast, 0, 17, priority=JobPriority.EMERGENCY)
    for offset in (1, 1, 2, 3, 4, 6, 9, 13):
        _plan(cast, offset, cast.rng.randint(8, 15))
    _plan(cast, -6, 9, status=JobStatus.ON_HOLD, reason="Waiting for the part.")
    _plan(cast, -4, 11, status=JobStatus.CANCELLED, reason="The customer is away.")
    for _ in range(2):
        Job.objects.create(
            customer=cast.someone(),
            title=cast.some_work().title,
            description="Called this morning; find a time.",
            priority=JobPriority.HIGH,
        )


def _plan(
    cast: Cast,
    offset: int,
    hour: int,
    *,
    status: JobStatus = JobStatus.SCHEDULED,
    reason: str = "",
    priority: JobPriority = JobPriority.NORMAL,
) -> None:
    customer, work = cast.someone(), cast.some_work()
    start = cast.at(cast.day(offset), hour)
    Job.objects.create(
        customer=customer,
        site=cast.sites.get(customer.pk),
        assigned_to=cast.technician,
        title=work.title,
        status=status,
        status_reason=reason,
        priority=priority,
        scheduled_start=start,
        scheduled_end=start + datetime.timedelta(minutes=work.minutes),
        started_at=start if status == JobStatus.IN_PROGRESS else None,
        created_at=cast.at(cast.day(min(offset, 0) - 3), 9),
    )
