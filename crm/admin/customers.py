"""Customers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from crm.admin.asker import asker
from crm.admin.base import AccountInline, AccountModelAdmin
from crm.admin.bulk import bulk_action
from crm.admin.buttons import button
from crm.admin.cells import CUSTOMER_COLOURS, add_url, label, list_url, money
from crm.admin.filters import DayRangeFilter
from crm.models import Customer, CustomerStatus, Invoice, Job, Payment, Quote, ServiceSite
from crm.services.customers import archive_customer, restore_customer
from ops.admin.looks import display


class SiteInline(AccountInline):
    """Where the customer's work is done."""

    model = ServiceSite
    fields = ("name", "address_line1", "city", "region", "postal_code", "is_active")
    tab = True
    show_change_link = True


@admin.register(Customer)
class CustomerAdmin(AccountModelAdmin):
    """People and companies the business works for."""

    parentless = True
    list_display: Any = ("customer", "contact", "place", "status_label", "added")
    sortable = ("customer", "added")
    list_filter = (("status", ChoicesDropdownFilter), ("created_at", DayRangeFilter))
    date_hierarchy = "created_at"
    search_fields = ("search_text",)
    search_help_text = "Name, e-mail, phone, address"
    inlines = (SiteInline,)
    readonly_fields = ("work",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("first_name", "last_name"),
                    ("company_name", "job_title"),
                    ("email", "phone"),
                    ("status", "work"),
                )
            },
        ),
        (
            "Billing address",
            {
                "fields": (
                    ("address_line1", "address_line2"),
                    ("postal_code", "city"),
                    ("region", "country"),
                )
            },
        ),
        ("More", {"fields": ("notes", "external_id")}),
    )
    actions: Any = ("archive", "restore", "export_csv")
    actions_detail = (
        "new_job",
        "new_quote",
        "new_invoice",
        "new_payment",
        "archive_one",
        "restore_one",
    )
    csv_columns = (
        "name",
        "first_name",
        "last_name",
        "company_name",
        "job_title",
        "email",
        "phone",
        "address_line1",
        "address_line2",
        "city",
        "region",
        "postal_code",
        "country",
        "status",
        "notes",
        "external_id",
        "created_at",
    )

    @display(description="Name", ordering="name")
    def customer(self, row: Customer) -> str:
        """What the customer is called."""
        return str(row.name)

    @display(description="Contact")
    def contact(self, row: Customer) -> SafeString | str:
        """E-mail and phone, ready to be clicked on a phone."""
        parts = []
        if row.email:
            parts.append(format_html('<a href="mailto:{0}">{0}</a>', row.email))
        if row.phone:
            number = row.phone_e164 or row.phone
            parts.append(format_html('<a href="tel:{}">{}</a>', number, row.phone))
        return format_html("<br>".join(["{}"] * len(parts)), *parts) if parts else "-"

    @display(description="Town")
    def place(self, row: Customer) -> str:
        """Where the customer is."""
        return " ".join(filter(None, [row.postal_code, row.city])) or "-"

    @display(description="Status", label=CUSTOMER_COLOURS)
    def status_label(self, row: Customer) -> tuple[str, str] | str:
        """The status, coloured."""
        return label(row.status, row.get_status_display(), CUSTOMER_COLOURS)

    @display(description="Added", ordering="created_at")
    def added(self, row: Customer) -> Any:
        """The day the customer was added."""
        return timezone.localtime(row.created_at).date()

    @display(description="Work and money")
    def work(self, row: Customer) -> SafeString | str:
        """Links to the customer's jobs, quotes and invoices, as far as the user may see them."""
        if row._state.adding:
            return "-"
        user = getattr(row, "asked_by", None)
        parts = []
        for model, rows in ((Job, row.jobs), (Quote, row.quotes), (Invoice, row.invoices)):
            if user is not None and user.has_perm(f"crm.view_{model._meta.model_name}"):
                url = list_url(model, customer__id__exact=row.pk)
                text = f"{model._meta.verbose_name_plural} ({rows.count()})".capitalize()
                parts.append(format_html('<a class="srvc-link" href="{}">{}</a>', url, text))
        if user is not None and user.has_perm("crm.view_invoice"):
            parts += [
                format_html("{} unpaid", money(amount, currency))
                for currency, _, amount in row.invoices.unpaid().balances_by_currency()
            ]
        return format_html(" · ".join(["{}"] * len(parts)), *parts) if parts else "-"

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            # A read-only cell is a function of the row alone; its links depend on who asks.
            row.asked_by = request.user
        return row

    @bulk_action(description="Archive", done="archived")
    def archive(self, request: HttpRequest, row: Customer) -> None:
        """Take customers out of the daily lists."""
        archive_customer(customer=row, by=asker(request))

    @bulk_action(description="Make active", done="made active")
    def restore(self, request: HttpRequest, row: Customer) -> None:
        """Bring customers back."""
        restore_customer(customer=row, by=asker(request))

    @button(title="New job", icon="build", permission="crm.add_job")
    def new_job(self, request: HttpRequest, row: Customer, data: Any) -> HttpResponseRedirect:
        """The page that adds a job for the customer."""
        return HttpResponseRedirect(add_url(Job, customer=row.pk))

    @button(title="New quote", icon="request_quote", permission="crm.add_quote")
    def new_quote(self, request: HttpRequest, row: Customer, data: Any) -> HttpResponseRedirect:
        """The page that adds a quote for the customer."""
        return HttpResponseRedirect(add_url(Quote, customer=row.pk))

    @button(title="New invoice", icon="receipt_long", permission="crm.add_invoice")
    def new_invoice(self, request: HttpRequest, row: Customer, data: Any) -> HttpResponseRedirect:
        """The page that adds an invoice for the customer."""
        return HttpResponseRedirect(add_url(Invoice, customer=row.pk))

    @button(title="New payment", icon="payments", permission="crm.add_payment")
    def new_payment(self, request: HttpRequest, row: Customer, data: Any) -> HttpResponseRedirect:
        """The page that adds a payment of the customer."""
        return HttpResponseRedirect(add_url(Payment, customer=row.pk))

    @button(
        title="Archive",
        icon="archive",
        question="Archive {row}? Jobs, quotes and invoices stay as they are.",
        shown=lambda row: row.status != CustomerStatus.ARCHIVED,
    )
    def archive_one(self, request: HttpRequest, row: Customer, data: Any) -> str:
        """Take the customer out of the daily lists."""
        archive_customer(customer=row, by=asker(request))
        return f"{row} is archived."

    @button(
        title="Make active",
        icon="unarchive",
        question="Make {row} an active customer?",
        shown=lambda row: row.status != CustomerStatus.ACTIVE,
    )
    def restore_one(self, request: HttpRequest, row: Customer, data: Any) -> str:
        """Bring the customer back."""
        restore_customer(customer=row, by=asker(request))
        return f"{row} is active."
