"""Service sites."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter

from crm.admin.base import AccountModelAdmin
from crm.admin.buttons import button
from crm.admin.cells import add_url, link
from crm.models import Job, ServiceSite
from ops.admin.looks import display


@admin.register(ServiceSite)
class ServiceSiteAdmin(AccountModelAdmin):
    """Where work is done, apart from the customers' billing addresses."""

    list_display: Any = ("name", "customer_link", "place", "is_active")
    sortable = ("name",)
    list_filter = (("customer", AutocompleteSelectFilter), ("is_active", BooleanRadioFilter))
    list_related = ("customer",)
    ordering = ("-id",)
    search_fields = ("name",)
    search_help_text = "Site, address, customer"
    autocomplete_fields = ("customer",)
    fieldsets = (
        (None, {"fields": ("customer", ("name", "is_active"), "access_notes")}),
        (
            "Address",
            {
                "fields": (
                    ("address_line1", "address_line2"),
                    ("postal_code", "city"),
                    ("region", "country"),
                )
            },
        ),
        ("More", {"fields": ("external_id",)}),
    )
    actions_detail = ("new_job",)
    csv_columns = (
        "name",
        "customer.name",
        "address_line1",
        "address_line2",
        "city",
        "region",
        "postal_code",
        "country",
        "access_notes",
        "is_active",
        "external_id",
    )

    @display(description="Customer")
    def customer_link(self, site: ServiceSite) -> SafeString | str:
        """Whose site it is, linked."""
        return link(site.customer)

    @display(description="Address")
    def place(self, site: ServiceSite) -> str:
        """The address on one line."""
        return site.address or "-"

    @button(title="New job", icon="build", permission="crm.add_job")
    def new_job(self, request: HttpRequest, row: ServiceSite, data: Any) -> HttpResponseRedirect:
        """The page that adds a job at the site."""
        return HttpResponseRedirect(add_url(Job, customer=row.customer_id, site=row.pk))
