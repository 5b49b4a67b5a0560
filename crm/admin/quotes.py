"""Quotes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.enums import ActionVariant

from crm.admin.asker import asker
from crm.admin.bulk import bulk_action
from crm.admin.buttons import OptionalReasonForm, button
from crm.admin.cells import EMPTY, QUOTE_COLOURS, change_url, label, links
from crm.admin.documents import DocumentAdmin, LineInline
from crm.admin.filters import DayRangeFilter, OfferFilter
from crm.models import Quote, QuoteLine, QuoteStatus
from crm.services.conversion import invoice_from_quote, job_from_quote
from crm.services.documents import decide_quote, request_quote_changes, send_quote
from ops.admin.looks import display


class QuoteLineInline(LineInline):
    """Lines of a quote."""

    model = QuoteLine


def _is(*statuses: QuoteStatus) -> Any:
    return lambda quote: quote.status in statuses


@admin.register(Quote)
class QuoteAdmin(DocumentAdmin):
    """What work would cost, and what customers said to it."""

    list_display: Any = (
        "label_cell",
        "customer_link",
        "title",
        "issue_date",
        "valid_until",
        "total_cell",
        "status_label",
    )
    list_display_links = ("label_cell",)
    sortable = ("label_cell", "issue_date", "total_cell")
    list_filter = (
        OfferFilter,
        ("status", ChoicesDropdownFilter),
        ("issue_date", DayRangeFilter),
        ("customer", AutocompleteSelectFilter),
    )
    date_hierarchy = "created_at"
    search_fields = ("title",)
    search_help_text = "Number, title, customer"
    inlines = (QuoteLineInline,)
    readonly_fields = ("state", "follow_up", "totals")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("customer", "site"),
                    "title",
                    ("issue_date", "valid_until"),
                    ("state", "follow_up"),
                )
            },
        ),
        ("Amounts", {"fields": (("prices_include_tax", "discount_total"), "totals")}),
        ("More", {"fields": ("notes", "external_id")}),
    )
    actions: Any = ("send", "export_csv")
    actions_detail = (
        "send_one",
        "accept",
        "to_job",
        "to_invoice",
        "decline",
        "changes",
    )
    csv_columns = (
        "number",
        "customer.name",
        "title",
        "status",
        "issue_date",
        "valid_until",
        "currency",
        "subtotal",
        "discount_total",
        "tax_total",
        "total",
        "external_id",
    )

    @display(description="Number", ordering="id")
    def label_cell(self, quote: Quote) -> str:
        """The number as people say it."""
        return quote.label

    @display(description="Status", label={**QUOTE_COLOURS, "expired": "danger"})
    def status_label(self, quote: Quote) -> tuple[str, str] | str:
        """The status, coloured; a sent quote past its date is expired."""
        if self._expired(quote):
            return ("expired", "Expired")
        return label(quote.status, quote.get_status_display(), QUOTE_COLOURS)

    @staticmethod
    def _expired(quote: Quote) -> bool:
        return (
            quote.status == QuoteStatus.SENT
            and quote.valid_until is not None
            and quote.valid_until < timezone.localdate()
        )

    @display(description="Status")
    def state(self, quote: Quote) -> str:
        """The status and what goes with it; buttons change it."""
        if quote._state.adding:
            return "Draft"
        text = quote.get_status_display()
        if self._expired(quote):
            text += ", expired"
        if quote.revision > 1:
            text += f", revision {quote.revision}"
        return f"{text}: {quote.decline_reason}" if quote.decline_reason else text

    @display(description="Jobs and invoices")
    def follow_up(self, quote: Quote) -> SafeString | str:
        """What came of the quote, linked."""
        if quote._state.adding:
            return EMPTY
        return links(
            [*quote.jobs.order_by("id"), *quote.invoices.order_by("id")], attribute="label"
        )

    @bulk_action(description="Mark as sent", done="sent")
    def send(self, request: HttpRequest, row: Quote) -> None:
        """Number and freeze quotes as sent."""
        send_quote(quote=row, by=asker(request))

    @button(
        title="Mark as sent",
        icon="send",
        question="Mark {row} as sent? It gets its number and can't be edited any more.",
        shown=_is(QuoteStatus.DRAFT, QuoteStatus.CHANGES_REQUESTED),
        variant=ActionVariant.PRIMARY,
    )
    def send_one(self, request: HttpRequest, row: Quote, data: Any) -> str:
        """Number and freeze the quote."""
        return f"{send_quote(quote=row, by=asker(request)).label} is sent."

    @button(
        title="Accepted",
        icon="thumb_up",
        question="Did the customer accept {row}?",
        shown=_is(QuoteStatus.SENT),
        variant=ActionVariant.SUCCESS,
    )
    def accept(self, request: HttpRequest, row: Quote, data: Any) -> str:
        """Record the customer's yes."""
        decide_quote(quote=row, accepted=True, by=asker(request))
        return f"{row.label} is accepted."

    @button(
        title="Declined",
        icon="thumb_down",
        question="Did the customer decline {row}?",
        form=OptionalReasonForm,
        shown=_is(QuoteStatus.SENT, QuoteStatus.CHANGES_REQUESTED),
        variant=ActionVariant.DANGER,
    )
    def decline(self, request: HttpRequest, row: Quote, data: Any) -> str:
        """Record the customer's no."""
        decide_quote(quote=row, accepted=False, reason=data["reason"], by=asker(request))
        return f"{row.label} is declined."

    @button(
        title="Changes requested",
        icon="edit_note",
        question="Open {row} for changes? It has to be sent again afterwards.",
        shown=_is(QuoteStatus.SENT),
    )
    def changes(self, request: HttpRequest, row: Quote, data: Any) -> str:
        """Open the quote again."""
        request_quote_changes(quote=row, by=asker(request))
        return f"{row.label} can be edited again."

    @button(
        title="Convert to job",
        icon="build",
        question="Open a job for {row}?",
        shown=_is(QuoteStatus.ACCEPTED, QuoteStatus.CONVERTED),
        permission="crm.add_job",
    )
    def to_job(self, request: HttpRequest, row: Quote, data: Any) -> HttpResponseRedirect:
        """Do the work."""
        return HttpResponseRedirect(change_url(job_from_quote(quote=row, by=asker(request))))

    @button(
        title="Convert to invoice",
        icon="receipt_long",
        question="Draft an invoice with the lines of {row}?",
        shown=_is(QuoteStatus.ACCEPTED, QuoteStatus.CONVERTED),
        permission="crm.add_invoice",
    )
    def to_invoice(self, request: HttpRequest, row: Quote, data: Any) -> HttpResponseRedirect:
        """Bill the work."""
        return HttpResponseRedirect(change_url(invoice_from_quote(quote=row, by=asker(request))))
