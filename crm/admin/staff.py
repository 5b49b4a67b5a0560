"""People who sign in: a business's staff, managed by its owner, and the platform's own people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
)

from crm.admin.asker import asker
from crm.admin.base import BaseModelAdmin, is_platform_administrator
from crm.admin.buttons import ConfirmForm, button
from crm.admin.forms import RefusableForm
from crm.models import PLATFORM_GROUPS, Account, User
from crm.services.staff import deactivate_user, give_group, set_password
from ops.admin.looks import display


class StaffForm(RefusableForm):
    """A person, and the group whose rights they have."""

    group = forms.ModelChoiceField(
        Group.objects.order_by("name"),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        help_text="Owner: everything. Office: everything but settings and staff. "
        "Technician: jobs and where they are, no prices.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "group" not in self.fields:
            return
        choice = self.fields["group"]
        assert isinstance(choice, forms.ModelChoiceField)
        groups = Group.objects.order_by("name")
        if not is_platform_administrator(self.request) or self.instance.account_id is not None:
            groups = groups.exclude(name__in=PLATFORM_GROUPS)
        choice.queryset = groups
        if self.instance.pk:
            choice.initial = self.instance.groups.first()
            # Superusers need no group.
            choice.required = not self.instance.is_superuser

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if self.instance.pk is None:
            self._place(data)
        platform = getattr(data.get("group"), "name", "") in PLATFORM_GROUPS
        without = self.instance.is_superuser and data.get("group") is None
        if "group" in data and not without and platform != (self.instance.account_id is None):
            self.add_error(
                "group",
                "The platform's own people are platform administrators or auditors; "
                "a business's staff are neither.",
            )
        return data

    def _place(self, data: dict[str, Any]) -> None:
        self.instance.is_staff = True
        if is_platform_administrator(self.request):
            self.instance.account = data.get("account")
        else:
            self.instance.account_id = self.request.user.account_id  # type: ignore[union-attr]

    def clean_is_active(self) -> bool:
        active = bool(self.cleaned_data["is_active"])
        if not active and self.instance.is_active:
            if self.instance.pk == self.request.user.pk:
                raise forms.ValidationError("You can't deactivate yourself; ask a colleague.")
            if self.instance.account_id == self.instance.pk:
                raise forms.ValidationError("The business belongs to this person.")
        return active


class NewStaffForm(StaffForm):
    """A new person. Without a password they can't sign in until one is set."""

    password = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters. Left empty, set one later on the person's page.",
    )

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            validate_password(password, self.instance)
        return password


class PasswordForm(ConfirmForm):
    """Asks for a password twice."""

    password1 = forms.CharField(
        label="Password",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    password2 = forms.CharField(
        label="Password, again",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )

    def clean_password1(self) -> str:
        password: str = self.cleaned_data["password1"]
        validate_password(password, self.row)
        return password

    def clean_password2(self) -> str:
        password: str = self.cleaned_data["password2"]
        if "password1" in self.cleaned_data and password != self.cleaned_data["password1"]:
            raise forms.ValidationError("The two passwords differ.")
        return password


@admin.register(User)
class StaffAdmin(BaseModelAdmin):
    """People who sign in."""

    form = StaffForm
    list_display: Any = ("email", "full_name", "role", "is_active", "last_login")
    list_filter = (("is_active", BooleanRadioFilter),)
    list_display_links = ("email",)
    sortable = ("email", "last_login")
    ordering = ("-id",)
    search_fields = ("email", "first_name", "last_name")
    search_help_text = "Name, e-mail"
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", ("first_name", "last_name"), "phone")}),
        ("Access", {"fields": (("group", "is_active"), ("last_login", "date_joined"))}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", ("first_name", "last_name"), "phone")}),
        ("Access", {"fields": ("group", "password")}),
    )
    actions: Any = ("export_csv",)
    actions_detail = ("set_password", "deactivate")
    csv_columns = ("email", "first_name", "last_name", "phone", "is_active", "last_login")

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = self.list_display
        return (*columns, "account") if is_platform_administrator(request) else columns

    def get_list_related(self, request: HttpRequest) -> Any:
        return ("groups", "account") if is_platform_administrator(request) else ("groups",)

    def get_list_filter(self, request: HttpRequest) -> Any:
        if is_platform_administrator(request):
            return (*self.list_filter, ("account", AutocompleteSelectFilter))
        return self.list_filter

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = self.fieldsets if obj else self.add_fieldsets
        if is_platform_administrator(request):
            return [*fieldsets, ("Business", {"fields": ("account",)})]
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = self.readonly_fields
        if obj is not None and is_platform_administrator(request):
            return (*fields, "account")
        return fields

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        attributes: dict[str, Any] = {}
        if obj is None and is_platform_administrator(request):
            attributes["account"] = forms.ModelChoiceField(
                Account.objects.all(),
                required=False,
                widget=AutocompleteSelect(User._meta.get_field("account"), self.admin_site),
                help_text="Empty for the platform's own people.",
            )
        base = StaffForm if obj else NewStaffForm
        own = ("group", "password", "account")
        fields = [
            name
            for _, options in self.get_fieldsets(request, obj)
            for part in options["fields"]
            for name in (part if isinstance(part, tuple) else (part,))
            if name not in own
        ]
        kwargs |= {"form": type(base.__name__, (base,), attributes), "fields": fields}
        return super().get_form(request, obj, change=change, **kwargs)

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        # A filter on a hash would tell it letter by letter.
        return not lookup.startswith("password") and super().lookup_allowed(lookup, value, request)

    @method_decorator(sensitive_post_parameters("password", "password1", "password2"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, User) and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.set_password(form.cleaned_data["password"] or None)
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        group = form.cleaned_data.get("group")
        if group is not None:
            give_group(user=form.instance, group=group, by=asker(request))

    @display(description="Name")
    def full_name(self, user: User) -> str:
        """First and last name."""
        return user.get_full_name() or "-"

    @display(
        description="Role",
        label={"Owner": "primary", "Office": "info", "Technician": "success"},
    )
    def role(self, user: User) -> str:
        """The group whose rights the person has."""
        names = [group.name for group in user.groups.all()]
        return "Superuser" if user.is_superuser else ", ".join(names)

    @button(
        title="Set password",
        icon="key",
        question="Which password shall {row} sign in with?",
        form=PasswordForm,
    )
    def set_password(self, request: HttpRequest, row: User, data: dict[str, Any]) -> str:
        """Give the person a password."""
        set_password(user=row, password=data["password1"], by=asker(request))
        if row.pk == request.user.pk:
            # Keeps oneself signed in; every other session of the person ends.
            request.session[HASH_SESSION_KEY] = row.get_session_auth_hash()
        return f"{row} has a new password."

    @button(
        title="Deactivate",
        icon="person_off",
        question="End the access of {row}? What they did stays.",
        shown=lambda user: user.is_active and user.account_id != user.pk,
    )
    def deactivate(self, request: HttpRequest, row: User, data: Any) -> str:
        """End the person's access."""
        deactivate_user(user=row, by=asker(request))
        return f"{row} can't sign in any more."
