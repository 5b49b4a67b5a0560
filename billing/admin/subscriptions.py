"""Which plan each business has."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
)

from billing.models import UserSubscription
from crm.admin.base import BaseModelAdmin, is_platform_administrator
from crm.admin.cells import label
from crm.admin.filters import DayRangeFilter
from ops.admin.looks import display

_COLOURS = {
    "trialing": "info",
    "active": "success",
    "past_due": "warning",
    "paused": "warning",
    "canceled": "danger",
    "unpaid": "danger",
}


@admin.register(UserSubscription)
class UserSubscriptionAdmin(BaseModelAdmin):
    """Members read their own; platform administrators write them."""

    list_display: Any = ("account", "plan", "status_label", "current_period_end", "ends")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("plan", RelatedDropdownFilter),
        ("current_period_end", DayRangeFilter),
    )
    list_related = ("account", "plan")
    ordering = ("-id",)
    search_fields = ("account__name",)
    search_help_text = "Business"
    autocomplete_fields = ("account",)
    fieldsets = (
        (None, {"fields": (("account", "plan"), "status")}),
        (
            "Period",
            {
                "fields": (
                    "current_period_start",
                    "current_period_end",
                    "trial_end",
                    "cancel_at_period_end",
                    "canceled_at",
                )
            },
        ),
        ("Stripe", {"fields": (("stripe_customer_id", "stripe_subscription_id"),)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # What Stripe calls the business is the platform's affair.
        everything = is_platform_administrator(request)
        return self.fieldsets if everything else self.fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("account",) if obj else ()

    @display(description="Status", label=_COLOURS)
    def status_label(self, subscription: UserSubscription) -> tuple[str, str] | str:
        """The status, coloured."""
        return label(subscription.status, subscription.get_status_display(), _COLOURS)

    @display(description="Ends with period", boolean=True)
    def ends(self, subscription: UserSubscription) -> bool:
        """Whether it ends with the paid period."""
        return subscription.cancel_at_period_end
