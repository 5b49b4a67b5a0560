"""Businesses: all of them for the platform, one's own settings for a member."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelect2Widget

from crm.admin.asker import asker
from crm.admin.base import BaseModelAdmin, is_platform_administrator
from crm.admin.cells import change_url, link
from crm.admin.filters import DayRangeFilter
from crm.admin.forms import RefusableForm
from crm.models import Account
from crm.services.accounts import create_account
from ops.admin.looks import display


class AccountForm(RefusableForm):
    """A business's settings."""

    time_zone = forms.ChoiceField(
        choices=[(name, name) for name in sorted(zoneinfo.available_timezones())],
        widget=UnfoldAdminSelect2Widget(),
        help_text="Where the business's days begin.",
    )

    def clean_phone_region(self) -> str:
        region = str(self.cleaned_data["phone_region"]).upper()
        if len(region) != 2 or not region.isalpha():
            raise forms.ValidationError("Give a country as two letters, such as US or DE.")
        return region


class NewAccountForm(AccountForm):
    """A business and its owner's sign-in."""

    email = forms.EmailField(
        label="Owner's e-mail address",
        widget=UnfoldAdminEmailInputWidget(),
        help_text="The owner signs in with it; set a password on the owner's page.",
    )


@admin.register(Account)
class AccountAdmin(BaseModelAdmin):
    """Businesses."""

    form = AccountForm
    list_display: Any = ("name", "owner", "currency", "time_zone", "created_at")
    list_filter = (("currency", ChoicesDropdownFilter), ("created_at", DayRangeFilter))
    list_related = ("user",)
    ordering = ("-user_id",)
    search_fields = ("name", "user__email")
    search_help_text = "Name, owner's e-mail"
    readonly_fields = ("owner",)
    fieldsets = (
        (None, {"fields": ("name", "owner")}),
        ("Money", {"fields": (("currency", "payment_days"), "prices_include_tax")}),
        ("Place", {"fields": (("time_zone", "phone_region"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "name", ("currency", "time_zone"), "phone_region")}),
    )
    csv_columns = ("name", "user.email", "currency", "time_zone", "created_at")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = AccountForm if obj else NewAccountForm
        if kwargs.get("fields"):
            kwargs["fields"] = [name for name in kwargs["fields"] if name != "email"]
        return super().get_form(request, obj, change=change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else ()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if not is_platform_administrator(request):
            own = getattr(request.user, "account", None)
            if own is not None and self.has_view_permission(request, own):
                return HttpResponseRedirect(change_url(own))
        return super().changelist_view(request, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        data = form.cleaned_data
        account = create_account(
            email=data["email"],
            name=data["name"],
            password=None,
            currency=data["currency"],
            time_zone=data["time_zone"],
            phone_region=data["phone_region"],
            by=asker(request),
        )
        obj.__dict__.update(account.__dict__)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Owner")
    def owner(self, account: Account) -> SafeString | str:
        """Whose business it is."""
        return link(account.user)
