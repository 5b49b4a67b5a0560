"""Subscription plans."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.models import SubscriptionPlan
from crm.admin.base import BaseModelAdmin
from crm.admin.cells import money
from crm.admin.forms import RefusableForm
from ops.admin.looks import display


class LinesField(forms.CharField):
    """A list of texts, edited a line each."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = value if isinstance(value, list) else str(value or "").splitlines()
        return [line.strip() for line in lines if str(line).strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))


class PlanForm(RefusableForm):
    """A plan as the price list shows it."""

    features = LinesField(required=False, help_text="What the plan contains, a line each.")


@admin.register(SubscriptionPlan)
class SubscriptionPlanAdmin(BaseModelAdmin):
    """What SRVC costs a business, and how much it may hold."""

    form = PlanForm
    list_display: Any = (
        "name",
        "price_cell",
        "interval",
        "customers",
        "invoices",
        "storage",
        "is_active",
    )
    list_filter = (("is_active", BooleanRadioFilter),)
    search_fields = ("name", "code")
    search_help_text = "Name, code"
    fieldsets = (
        (None, {"fields": (("name", "code"), "description", "features", "is_active")}),
        ("Price", {"fields": (("price", "currency"), ("interval", "stripe_price_id"))}),
        (
            "Limits (empty for none)",
            {"fields": (("max_customers", "max_invoices", "max_storage_gb"),)},
        ),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Price", ordering="price", formatting="price")
    def price_cell(self, plan: SubscriptionPlan) -> SafeString | str:
        """The price per interval."""
        return money(plan.price, plan.currency)

    @display(description="Customers", formatting="price")
    def customers(self, plan: SubscriptionPlan) -> str:
        """How many customers the plan holds."""
        return _limit(plan.max_customers)

    @display(description="Invoices a month", formatting="price")
    def invoices(self, plan: SubscriptionPlan) -> str:
        """How many invoices a month the plan holds."""
        return _limit(plan.max_invoices)

    @display(description="Storage", formatting="price")
    def storage(self, plan: SubscriptionPlan) -> str:
        """How much the plan stores."""
        return _limit(plan.max_storage_gb, " GB")


def _limit(number: int | None, unit: str = "") -> str:
    return "No limit" if number is None else f"{number:,}{unit}"
