"""Products and services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter

from crm.admin.base import AccountModelAdmin
from crm.admin.bulk import bulk_action
from crm.admin.cells import EMPTY, label, money, plain
from crm.models import Product
from ops.admin.looks import display

_COLOURS = {"service": "info"}


@admin.register(Product)
class ProductAdmin(AccountModelAdmin):
    """What lines of quotes and invoices are made of."""

    parentless = True
    list_display: Any = ("name", "sku", "kind_label", "unit", "price", "tax", "is_active")
    sortable = ("name", "sku", "price")
    list_filter = (("kind", ChoicesDropdownFilter), ("is_active", BooleanRadioFilter))
    # The account's currency goes with every price.
    list_related = ("account",)
    search_fields = ("search_text",)
    search_help_text = "Name, article number"
    fieldsets = (
        (None, {"fields": (("name", "sku"), ("kind", "is_active"), "description")}),
        ("Price", {"fields": (("unit_price", "unit"), ("tax_name", "tax_rate"))}),
        ("More", {"fields": ("external_id",)}),
    )
    actions: Any = ("take_off_sale", "export_csv")
    csv_columns = (
        "name",
        "sku",
        "kind",
        "description",
        "unit",
        "unit_price",
        "tax_name",
        "tax_rate",
        "is_active",
        "external_id",
    )

    def get_ordering(self, request: HttpRequest) -> Any:
        # Over every account no index is in the order of names.
        everywhere = getattr(request.user, "is_platform_administrator", False)
        return ("-id",) if everywhere else ("name", "id")

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        if request.path.endswith("/autocomplete/"):
            rows = rows.filter(is_active=True)
        return rows, duplicates

    @display(description="Kind", label=_COLOURS)
    def kind_label(self, product: Product) -> tuple[str, str] | str:
        """Service or material."""
        return label(product.kind, product.get_kind_display(), _COLOURS)

    @display(description="Price", ordering="unit_price", formatting="price")
    def price(self, product: Product) -> SafeString | str:
        """The price of one unit, in the account's currency."""
        return money(product.unit_price, product.account.currency)

    @display(description="Tax", formatting="price")
    def tax(self, product: Product) -> str:
        """Name and rate of the tax."""
        if not product.tax_rate:
            return EMPTY
        return f"{product.tax_name} {plain(product.tax_rate)} %".strip()

    @bulk_action(description="Take off sale", done="taken off sale")
    def take_off_sale(self, request: HttpRequest, row: Product) -> None:
        """Keep products off new lines."""
        row.is_active = False
        row.save(update_fields=["is_active"])
