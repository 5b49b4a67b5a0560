"""Writes on quotes and invoices: adding them up, sending, issuing, ending."""

from __future__ import annotations

from django.db import transaction

from crm.errors import CrmError
from crm.models import Invoice, InvoiceStatus, Quote, QuoteStatus, User
from crm.models.currencies import format_money, minor_unit
from crm.models.documents import Document
from crm.services.refusals import told_by_the_database
from crm.services.totals import LineAmounts, Totals, compute_totals


@transaction.atomic
def recalculate(*, document: Document) -> Totals:
    """Write the nets of a document's lines and its totals, as they are now.

    Raises CrmError when the discount is larger than the lines.
    """
    lines = list(document.lines.order_by("position", "id"))  # type: ignore[attr-defined]
    unit = minor_unit(document.currency)
    amounts = [
        LineAmounts(line.quantity, line.unit_price, line.discount_percent, line.tax_rate)
        for line in lines
    ]
    try:
        totals = compute_totals(
            amounts,
            minor_unit=unit,
            discount=document.discount_total,
            prices_include_tax=document.prices_include_tax,
        )
    except ValueError:
        discount = format_money(document.discount_total, document.currency)
        raise CrmError(
            f"The discount of {discount} is larger than the lines. Nothing was saved; "
            "lower it or add lines first."
        ) from None
    changed = []
    for line, net in zip(lines, totals.nets, strict=True):
        if line.net != net:
            line.net = net
            changed.append(line)
    if changed:
        type(changed[0]).objects.bulk_update(changed, ["net"])
    for field in ("subtotal", "discount_total", "tax_total", "total"):
        setattr(document, field, getattr(totals, field))
    document.save(update_fields=["subtotal", "discount_total", "tax_total", "total"])
    return totals


@told_by_the_database
@transaction.atomic
def issue_invoice(*, invoice: Invoice, by: User | None) -> Invoice:
    """Add up, number and freeze a draft invoice. Raises CrmError when it may not be issued."""
    invoice = Invoice.objects.select_for_update().get(pk=invoice.pk)
    if invoice.status == InvoiceStatus.DRAFT:
        recalculate(document=invoice)
    return _move(invoice, InvoiceStatus.ISSUED)


@told_by_the_database
@transaction.atomic
def void_invoice(*, invoice: Invoice, reason: str, by: User | None) -> Invoice:
    """Take an issued invoice out of the books, keeping its number. Raises CrmError if paid."""
    invoice.status_reason = reason
    return _move(invoice, InvoiceStatus.VOID, "status_reason")


@told_by_the_database
@transaction.atomic
def write_off_invoice(*, invoice: Invoice, reason: str, by: User | None) -> Invoice:
    """Give up on what is left of an issued invoice. Raises CrmError when it is not issued."""
    invoice.status_reason = reason
    return _move(invoice, InvoiceStatus.WRITTEN_OFF, "status_reason")


@told_by_the_database
@transaction.atomic
def reopen_invoice(*, invoice: Invoice, by: User | None) -> Invoice:
    """Expect the money of a written-off invoice again. Raises CrmError when it is not."""
    return _move(invoice, InvoiceStatus.ISSUED)


@told_by_the_database
@transaction.atomic
def send_quote(*, quote: Quote, by: User | None) -> Quote:
    """Add up, number and freeze a quote as sent. Raises CrmError when it may not be sent."""
    quote = Quote.objects.select_for_update().get(pk=quote.pk)
    if quote.is_editable:
        recalculate(document=quote)
        if not quote.lines.exists():
            raise CrmError("A quote without lines can't be sent. Nothing was changed; add a line.")
    return _move(quote, QuoteStatus.SENT)


@told_by_the_database
@transaction.atomic
def decide_quote(*, quote: Quote, accepted: bool, by: User | None, reason: str = "") -> Quote:
    """Record the customer's answer to a sent quote. Raises CrmError for one not sent."""
    quote.decline_reason = reason
    status = QuoteStatus.ACCEPTED if accepted else QuoteStatus.DECLINED
    return _move(quote, status, "decline_reason")


@told_by_the_database
@transaction.atomic
def request_quote_changes(*, quote: Quote, by: User | None) -> Quote:
    """Open a sent quote for changes the customer asked for. Raises CrmError for one not sent."""
    return _move(quote, QuoteStatus.CHANGES_REQUESTED)


def _move[AnyDocument: (Quote, Invoice)](
    document: AnyDocument, status: str, *fields: str
) -> AnyDocument:
    document.status = status
    document.save(update_fields=["status", *fields])
    # The number and the dates were given by the database.
    document.refresh_from_db()
    return document
