"""From a quote to the job that does it and the invoice that bills it."""

from __future__ import annotations

from django.db import transaction

from crm.errors import CrmError
from crm.models import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    Job,
    JobStatus,
    Quote,
    QuoteStatus,
    User,
)
from crm.services.documents import recalculate
from crm.services.refusals import told_by_the_database

_LINE_FIELDS = (
    "position",
    "product_id",
    "description",
    "quantity",
    "unit",
    "unit_price",
    "discount_percent",
    "tax_name",
    "tax_rate",
)


@told_by_the_database
@transaction.atomic
def job_from_quote(*, quote: Quote, by: User | None) -> Job:
    """Open a draft job for an accepted quote, which thereby counts as converted.

    Raises CrmError for a quote that is not accepted or that has its job already.
    """
    quote = _agreed(quote)
    existing = quote.jobs.exclude(status=JobStatus.CANCELLED).first()
    if existing is not None:
        raise CrmError(f"{existing.label} does this quote already. Nothing was changed.")
    job = Job.objects.create(
        account_id=quote.account_id,
        customer_id=quote.customer_id,
        site_id=quote.site_id,
        quote=quote,
        title=quote.title or f"Work of {quote.label}",
        description=quote.notes,
    )
    _convert(quote)
    return job


@told_by_the_database
@transaction.atomic
def invoice_from_quote(*, quote: Quote, by: User | None) -> Invoice:
    """Draft an invoice with the lines of an accepted quote, which thereby counts as converted.

    Raises CrmError for a quote that is not accepted or that is billed already.
    """
    quote = _agreed(quote)
    if (existing := _billing(quote)) is not None:
        raise CrmError(
            f"{existing.label} bills this quote already. Nothing was changed; "
            "void it first, or add a plain invoice."
        )
    job = quote.jobs.exclude(status=JobStatus.CANCELLED).first()
    invoice = _draft(quote, job=job)
    _convert(quote)
    return invoice


@told_by_the_database
@transaction.atomic
def invoice_from_job(*, job: Job, by: User | None) -> Invoice:
    """Draft an invoice for a job, with its quote's lines unless another invoice bills them."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.status == JobStatus.CANCELLED:
        raise CrmError("A cancelled job can't be billed. Nothing was changed.")
    if job.quote is not None and _billing(job.quote) is None:
        quote = Quote.objects.select_for_update().get(pk=job.quote.pk)
        return _draft(quote, job=job)
    return Invoice.objects.create(
        account_id=job.account_id,
        customer_id=job.customer_id,
        site_id=job.site_id,
        job=job,
        title=job.title,
        prices_include_tax=job.account.prices_include_tax,
    )


def _agreed(quote: Quote) -> Quote:
    quote = Quote.objects.select_for_update().get(pk=quote.pk)
    if quote.status not in (QuoteStatus.ACCEPTED, QuoteStatus.CONVERTED):
        raise CrmError(
            f"A {quote.get_status_display().lower()} quote can't be converted. "
            "Nothing was changed; record the customer's acceptance first."
        )
    return quote


def _billing(quote: Quote) -> Invoice | None:
    return quote.invoices.exclude(status=InvoiceStatus.VOID).first()


def _convert(quote: Quote) -> None:
    if quote.status == QuoteStatus.ACCEPTED:
        quote.status = QuoteStatus.CONVERTED
        quote.save(update_fields=["status"])


def _draft(quote: Quote, *, job: Job | None) -> Invoice:
    invoice = Invoice.objects.create(
        account_id=quote.account_id,
        customer_id=quote.customer_id,
        site_id=quote.site_id,
        quote=quote,
        job=job,
        title=quote.title,
        currency=quote.currency,
        prices_include_tax=quote.prices_include_tax,
        notes=quote.notes,
    )
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            account_id=invoice.account_id,
            invoice=invoice,
            **{field: getattr(line, field) for field in _LINE_FIELDS},
        )
        for line in quote.lines.order_by("position", "id")
    )
    # Only now: without lines there is nothing to take a discount from.
    invoice.discount_total = quote.discount_total
    recalculate(document=invoice)
    return invoice
