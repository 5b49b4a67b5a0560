"""Payments and what they pay."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.enums import ActionVariant

from crm.admin.asker import asker
from crm.admin.base import AccountInline, AccountModelAdmin
from crm.admin.buttons import ReceivedForm, button
from crm.admin.cells import EMPTY, PAYMENT_COLOURS, label, link, links, money
from crm.admin.filters import DayRangeFilter
from crm.admin.forms import AccountModelForm
from crm.models import Payment, PaymentAllocation, PaymentStatus
from crm.services.payments import reverse_payment
from ops.admin.looks import display


class AllocationForm(AccountModelForm):
    """How much of the payment pays which invoice."""

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        # The payment itself may be new, without a key yet.
        invoice, payment = data.get("invoice"), data.get("payment")
        if (
            invoice is not None
            and payment is not None
            and payment.customer_id not in (None, invoice.customer_id)
        ):
            self.add_error("invoice", "This is another customer's invoice.")
        return data


class AllocationInline(AccountInline):
    """What the payment pays; never changed, only added to."""

    model = PaymentAllocation
    form = AllocationForm
    fields = ("invoice", "amount")
    autocomplete_fields = ("invoice",)
    verbose_name = "allocation"
    verbose_name_plural = "pays invoices"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("invoice")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        takes = obj is None or (obj.status == PaymentStatus.COMPLETED and obj.amount > 0)
        return takes and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewPaymentForm(AccountModelForm):
    """A payment; its currency is the account's."""

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        payment = self.instance
        if not payment.currency and payment.account_id is not None:
            payment.currency = payment.account.currency
        amount = data.get("amount")
        if amount is not None and amount <= 0:
            self.add_error("amount", "A payment is more than zero; take one back by reversing it.")
        return data


@admin.register(Payment)
class PaymentAdmin(AccountModelAdmin):
    """Money received. Append-only: a payment is taken back by reversing it."""

    form = NewPaymentForm
    list_display: Any = (
        "received_on",
        "customer_link",
        "amount_cell",
        "deposit",
        "method_name",
        "reference",
        "status_label",
    )
    list_display_links = ("received_on",)
    sortable = ("received_on", "amount_cell")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("method", ChoicesDropdownFilter),
        ("received_on", DayRangeFilter),
        ("customer", AutocompleteSelectFilter),
    )
    date_hierarchy = "received_on"
    list_related = ("customer",)
    search_fields = ("reference",)
    search_help_text = "Reference, customer"
    autocomplete_fields = ("customer",)
    inlines = (AllocationInline,)
    readonly_fields = ("status_text", "deposit", "related")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "customer",
                    ("amount", "received_on"),
                    ("method", "reference"),
                    ("status_text", "deposit"),
                    "related",
                    "notes",
                    "external_id",
                )
            },
        ),
    )
    actions: Any = ("export_csv",)
    actions_detail = ("reverse",)
    csv_columns = (
        "received_on",
        "customer.name",
        "amount",
        "currency",
        "allocated_total",
        "unallocated",
        "method",
        "reference",
        "status",
        "notes",
        "external_id",
    )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = {"received_on": timezone.localdate()}
        return initial | super().get_changeform_initial_data(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if obj is None or obj.status == PaymentStatus.PENDING:
            return fields
        # The database would refuse a change of anything but the notes.
        frozen = ("customer", "amount", "received_on", "method", "reference", "external_id")
        return (*fields, *frozen)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Customer")
    def customer_link(self, payment: Payment) -> SafeString | str:
        """Who paid, linked."""
        return link(payment.customer)

    @display(description="Amount", ordering="amount", formatting="price")
    def amount_cell(self, payment: Payment) -> SafeString | str:
        """The amount in the payment's currency."""
        return money(payment.amount, payment.currency)

    @display(description="Unallocated", formatting="price")
    def deposit(self, payment: Payment) -> SafeString | str:
        """What of it pays nothing yet."""
        if payment._state.adding or not payment.unallocated:
            return EMPTY
        return money(payment.unallocated, payment.currency)

    @display(description="Method", ordering="method")
    def method_name(self, payment: Payment) -> str:
        """How it was paid."""
        return payment.get_method_display()

    @display(description="Status", label=PAYMENT_COLOURS)
    def status_label(self, payment: Payment) -> tuple[str, str] | str:
        """The status, coloured."""
        if payment.amount < 0:
            return ("refunded", "Reversal")
        return label(payment.status, payment.get_status_display(), PAYMENT_COLOURS)

    @display(description="Status")
    def status_text(self, payment: Payment) -> str:
        """The status; reversing changes it."""
        return payment.get_status_display()

    @display(description="Reversal")
    def related(self, payment: Payment) -> SafeString | str:
        """The payment it takes back, or the one that takes it back, linked."""
        if payment._state.adding:
            return EMPTY
        if payment.reverses is not None:
            return link(payment.reverses)
        return links(payment.reversals.order_by("id"))

    @button(
        title="Reverse",
        icon="undo",
        question="Take {row} back? Invoices it paid are open again.",
        submit="Reverse the payment",
        form=ReceivedForm,
        initial=lambda payment: {"received_on": timezone.localdate()},
        shown=lambda payment: payment.status == PaymentStatus.COMPLETED and payment.amount > 0,
        permission="crm.add_payment",
        variant=ActionVariant.DANGER,
    )
    def reverse(self, request: HttpRequest, row: Payment, data: dict[str, Any]) -> str:
        """Take the payment back by a negative one."""
        reversal = reverse_payment(payment=row, by=asker(request), **data)
        return f"Reversed by {money(reversal.amount, reversal.currency)}."
