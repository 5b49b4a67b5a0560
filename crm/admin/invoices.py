"""Invoices."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.enums import ActionVariant

from crm.admin.asker import asker
from crm.admin.bulk import bulk_action
from crm.admin.buttons import PaymentForm, ReasonForm, button
from crm.admin.cells import EMPTY, INVOICE_COLOURS, change_url, label, money
from crm.admin.documents import DocumentAdmin, LineInline
from crm.admin.filters import DayRangeFilter, DueFilter
from crm.models import Invoice, InvoiceLine, InvoiceStatus
from crm.services.documents import issue_invoice, reopen_invoice, void_invoice, write_off_invoice
from crm.services.payments import pay_invoice
from ops.admin.looks import display


class InvoiceLineInline(LineInline):
    """Lines of an invoice."""

    model = InvoiceLine


def _owed(invoice: Invoice) -> bool:
    return invoice.status == InvoiceStatus.ISSUED and invoice.allocated_total < invoice.total


@admin.register(Invoice)
class InvoiceAdmin(DocumentAdmin):
    """What customers owe, and what they have paid."""

    list_display: Any = (
        "label_cell",
        "customer_link",
        "issue_date",
        "due_date",
        "total_cell",
        "balance_cell",
        "status_label",
    )
    list_display_links = ("label_cell",)
    sortable = ("label_cell", "issue_date", "due_date", "total_cell", "balance_cell")
    list_filter = (
        DueFilter,
        ("status", ChoicesDropdownFilter),
        ("issue_date", DayRangeFilter),
        ("due_date", DayRangeFilter),
        ("customer", AutocompleteSelectFilter),
    )
    date_hierarchy = "issue_date"
    search_fields = ("title",)
    search_help_text = "Number, title, customer"
    inlines = (InvoiceLineInline,)
    autocomplete_fields = ("customer", "site", "quote", "job")
    readonly_fields = ("state", "paid_by", "totals")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("customer", "site"),
                    "title",
                    ("issue_date", "due_date"),
                    ("state", "paid_by"),
                )
            },
        ),
        ("Amounts", {"fields": (("prices_include_tax", "discount_total"), "totals")}),
        ("More", {"fields": (("quote", "job"), "notes", "external_id")}),
    )
    actions: Any = ("issue", "pay", "export_csv")
    actions_detail = ("issue_one", "record_payment", "write_off", "reopen", "void")
    csv_columns = (
        "number",
        "customer.name",
        "title",
        "status",
        "issue_date",
        "due_date",
        "currency",
        "subtotal",
        "discount_total",
        "tax_total",
        "total",
        "allocated_total",
        "balance",
        "external_id",
    )

    @display(description="Number", ordering="id")
    def label_cell(self, invoice: Invoice) -> str:
        """The number as people say it."""
        return invoice.label

    @display(description="Balance", ordering="balance", formatting="price")
    def balance_cell(self, invoice: Invoice) -> SafeString | str:
        """What is left to pay."""
        return money(invoice.balance, invoice.currency)

    @display(description="Status", label=INVOICE_COLOURS)
    def status_label(self, invoice: Invoice) -> tuple[str, str] | str:
        """The state people see: unpaid, overdue, paid …, derived on the spot."""
        state = invoice.payment_state(timezone.localdate())
        return label(state, state.replace("_", " ").capitalize(), INVOICE_COLOURS)

    @display(description="Status")
    def state(self, invoice: Invoice) -> str:
        """The state and its reason; buttons change it."""
        if invoice._state.adding:
            return "Draft"
        text = invoice.payment_state(timezone.localdate()).replace("_", " ").capitalize()
        return f"{text}: {invoice.status_reason}" if invoice.status_reason else text

    @display(description="Payments")
    def paid_by(self, invoice: Invoice) -> SafeString | str:
        """The payments that pay it, linked."""
        if invoice._state.adding:
            return EMPTY
        parts = [
            format_html(
                '<a class="srvc-link" href="{}">{} on {}</a>',
                change_url(allocation.payment),
                money(allocation.amount, invoice.currency),
                allocation.payment.received_on,
            )
            for allocation in invoice.allocations.select_related("payment").order_by("id")
        ]
        return format_html(" · ".join(["{}"] * len(parts)), *parts) if parts else EMPTY

    @bulk_action(description="Issue", done="issued")
    def issue(self, request: HttpRequest, row: Invoice) -> None:
        """Number and freeze drafts."""
        issue_invoice(invoice=row, by=asker(request))

    @bulk_action(
        description="Record payment in full, today", done="paid", permission="crm.add_payment"
    )
    def pay(self, request: HttpRequest, row: Invoice) -> None:
        """Record that invoices were paid."""
        pay_invoice(invoice=row, received_on=timezone.localdate(), by=asker(request))

    @button(
        title="Issue",
        icon="send",
        question="Issue {row}? It gets its number and can't be edited any more.",
        shown=lambda invoice: invoice.status == InvoiceStatus.DRAFT,
        variant=ActionVariant.PRIMARY,
    )
    def issue_one(self, request: HttpRequest, row: Invoice, data: Any) -> str:
        """Number and freeze the invoice."""
        return f"{issue_invoice(invoice=row, by=asker(request)).label} is issued."

    @button(
        title="Record payment",
        icon="payments",
        question="What was paid of {row}?",
        submit="Record payment",
        form=PaymentForm,
        initial=lambda invoice: {
            "amount": invoice.total - invoice.allocated_total,
            "received_on": timezone.localdate(),
            "method": "bank_transfer",
        },
        shown=_owed,
        permission="crm.add_payment",
        variant=ActionVariant.SUCCESS,
    )
    def record_payment(self, request: HttpRequest, row: Invoice, data: dict[str, Any]) -> str:
        """Record money received for the invoice."""
        payment = pay_invoice(invoice=row, by=asker(request), **data)
        return f"Payment of {money(payment.amount, payment.currency)} is recorded."

    @button(
        title="Write off",
        icon="money_off",
        question="Why do you give up on the rest of {row}?",
        form=ReasonForm,
        shown=_owed,
    )
    def write_off(self, request: HttpRequest, row: Invoice, data: Any) -> str:
        """Give up on the rest."""
        write_off_invoice(invoice=row, reason=data["reason"], by=asker(request))
        return f"{row.label} is written off."

    @button(
        title="Expect payment again",
        icon="undo",
        question="Expect the money of {row} again?",
        shown=lambda invoice: invoice.status == InvoiceStatus.WRITTEN_OFF,
    )
    def reopen(self, request: HttpRequest, row: Invoice, data: Any) -> str:
        """Take the write-off back."""
        reopen_invoice(invoice=row, by=asker(request))
        return f"{row.label} is open again."

    @button(
        title="Void",
        icon="block",
        question="Why is {row} void? Its number stays taken.",
        form=ReasonForm,
        shown=lambda invoice: (
            invoice.status == InvoiceStatus.ISSUED and not invoice.allocated_total
        ),
        variant=ActionVariant.DANGER,
    )
    def void(self, request: HttpRequest, row: Invoice, data: Any) -> str:
        """Take the invoice out of the books."""
        void_invoice(invoice=row, reason=data["reason"], by=asker(request))
        return f"{row.label} is void."
