"""What the pages of every account's table have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from crm.admin.buttons import ButtonsMixin
from crm.admin.changelist import BoundedPaginator, ChangeList, EstimatingPaginator
from crm.admin.export import ExportMixin
from crm.admin.forms import AccountModelForm, RefusableForm
from crm.admin.history import HistoryMixin
from crm.admin.refusals import RefusalMixin
from crm.models import Account
from ops.admin.looks import ModelAdmin, TabularInline

_LABELS = {
    "address_line1": "Street",
    "address_line2": "Address line 2",
    "postal_code": "Postal code",
    "region": "State or region",
    "email": "E-mail",
    "discount_total": "Discount",
    "discount_percent": "Discount %",
    "tax_rate": "Tax %",
}
# Smallest and largest values that the tables' checks allow, told at the field.
_LIMITS: dict[str, tuple[Any, Any]] = {
    "unit_price": (0, None),
    "discount_total": (0, None),
    "discount_percent": (0, 100),
    "tax_rate": (0, 100),
}
# How many decimals these show at least; the zeros behind them say nothing.
_TRIMMED = {"quantity": 0, "unit_price": 2, "discount_percent": 0, "tax_rate": 0}


def is_platform_administrator(request: HttpRequest) -> bool:
    """Whether whoever asks sees every account."""
    return bool(getattr(request.user, "is_platform_administrator", False))


class FieldsMixin:
    """Form fields that tell the tables' limits before the database has to."""

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and db_field.name in _LABELS:
            field.label = _LABELS[db_field.name]
        if isinstance(db_field, models.TextField) and isinstance(field, forms.CharField):
            field.widget.attrs["rows"] = 4
        low, high = _LIMITS.get(db_field.name, (None, None))
        if isinstance(field, forms.DecimalField):
            field.widget.attrs["inputmode"] = "decimal"
            if db_field.name in _TRIMMED:
                field.prepare_value = _trimmed(_TRIMMED[db_field.name])  # type: ignore[assignment,method-assign]
            for limit, name in ((low, "min"), (high, "max")):
                if limit is not None:
                    field.widget.attrs[name] = limit
            if db_field.name == "quantity":
                field.validators.append(_more_than_zero)
            if low is not None:
                field.validators.append(MinValueValidator(low))
            if high is not None:
                field.validators.append(MaxValueValidator(high))
        return field


class BaseModelAdmin(
    RefusalMixin, HistoryMixin, ButtonsMixin, ExportMixin, FieldsMixin, ModelAdmin
):
    """Fast lists, buttons, CSV export, history, and refusals shown as errors."""

    form: type[forms.ModelForm[Any]] = RefusableForm
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = True
    list_fullwidth = True
    warn_unsaved_form = True
    change_list_template = "crm/admin/change_list.html"
    search_help_text = "Search"
    # Rows that columns refer to. They are fetched by key after the page's own rows: joined, the
    # planner sorts a large account's rows for a page of fifty (1,400 ms against 20 ms in a trial).
    list_related: ClassVar[Sequence[str]] = ()
    list_select_related: ClassVar[Any] = ()
    # Columns a member may sort by; over every account's rows no index would serve them.
    sortable: ClassVar[Sequence[str]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DjangoChangeList]:
        return ChangeList

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What an address fills a new form with; its moments as moments, for Django's fields."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        for field in self.opts.get_fields():
            if isinstance(field, models.DateTimeField) and field.name in initial:
                try:
                    initial[field.name] = field.to_python(initial[field.name])
                except (ValidationError, OverflowError):
                    del initial[field.name]
        return initial

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Whether an address may filter by this: never by rows that refer to these.

        Django allows it for any relation, also for models without a table (docs/adr/0005).
        """
        reverse = {field.name for field in self.opts.get_fields() if not hasattr(field, "column")}
        own = lookup.partition("__")[0] not in reverse
        return own and super().lookup_allowed(lookup, value, request)

    def get_list_related(self, request: HttpRequest) -> Sequence[str]:
        """Names of the foreign keys whose rows the list shows."""
        return self.list_related

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        everywhere = is_platform_administrator(request)
        paginator = EstimatingPaginator if everywhere else self.paginator
        return paginator(queryset, per_page, *args, **kwargs)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return () if is_platform_administrator(request) else self.sortable

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        everywhere = is_platform_administrator(request)
        search = getattr(queryset, "matching", None)
        if everywhere:
            search = getattr(queryset, "matching_everywhere", search)
        if search is None:
            return super().get_search_results(request, queryset, search_term)
        return (search(search_term) if search_term.strip() else queryset), False

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        base = kwargs.get("form", self.form)
        kwargs["form"] = type(base.__name__, (base,), {"request": request})
        return super().get_form(request, obj, change=change, **kwargs)

    def has_work_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may move a row along, also one too final to be edited."""
        return super().has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest, *args: Any) -> Any:
        actions = super().get_actions(request, *args)
        # One row may refuse for all; deleting is for one row at a time, on its page.
        actions.pop("delete_selected", None)
        return actions


class AccountModelAdmin(BaseModelAdmin):
    """A table whose rows belong to accounts."""

    form = AccountModelForm
    # Whether a platform administrator names the account of a new row; others have a parent row.
    parentless = False

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = tuple(super().get_list_display(request))
        if not is_platform_administrator(request):
            return columns
        return (*columns, "account")

    def get_list_filter(self, request: HttpRequest) -> Any:
        filters = tuple(super().get_list_filter(request))
        if not is_platform_administrator(request):
            return filters
        return (*filters, ("account", AutocompleteSelectFilter))

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Whether an address may filter by this: never by rows that refer to these.

        Django allows it for any relation, also for models without a table (docs/adr/0005).
        """
        reverse = {field.name for field in self.opts.get_fields() if not hasattr(field, "column")}
        own = lookup.partition("__")[0] not in reverse
        return own and super().lookup_allowed(lookup, value, request)

    def get_list_related(self, request: HttpRequest) -> Sequence[str]:
        related = super().get_list_related(request)
        return (*related, "account") if is_platform_administrator(request) else related

    def asks_account(self, request: HttpRequest, obj: Any) -> bool:
        """Whether the form has the field `account`."""
        return self.parentless and obj is None and is_platform_administrator(request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if self.asks_account(request, obj):
            return [(None, {"fields": ("account",)}), *fieldsets]
        if obj and is_platform_administrator(request):
            return [*fieldsets, ("Business", {"fields": ("account",)})]
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, "account") if obj and is_platform_administrator(request) else fields

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if self.asks_account(request, obj):
            if kwargs.get("fields"):
                kwargs["fields"] = [name for name in kwargs["fields"] if name != "account"]
            choice = forms.ModelChoiceField(
                Account.objects.all(),
                widget=AutocompleteSelect(self.model._meta.get_field("account"), self.admin_site),
            )
            kwargs["form"] = type(self.form.__name__, (self.form,), {"account": choice})
        return super().get_form(request, obj, change=change, **kwargs)

    def save_related(
        self, request: HttpRequest, form: forms.ModelForm[Any], formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        self.finish_saving(form.instance)
        # Numbers, dates and names are the database's: messages and the log should show them.
        form.instance.refresh_from_db()

    def finish_saving(self, row: Any) -> None:
        """What is left to write once the row and those below it are saved."""


class AccountInline(FieldsMixin, TabularInline):
    """Rows of an account below their parent, which lends them its account."""

    form: type[forms.ModelForm[Any]] = AccountModelForm
    extra = 0
    show_title = False

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            # A table's cells have no labels of their own.
            field.widget.attrs.setdefault("aria-label", str(field.label))
        return field

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        related = [
            name
            for name in self.get_autocomplete_fields(request)
            if name in self.get_readonly_fields(request)
        ]
        # Not joined: a join would read people's password hashes, which no request may.
        return super().get_queryset(request).prefetch_related(*related)


def _trimmed(decimals: int) -> Callable[[Any], Any]:
    def prepare_value(value: Any) -> Any:
        if not isinstance(value, Decimal):
            return value
        whole, _, fraction = f"{value:f}".partition(".")
        fraction = fraction.rstrip("0").ljust(decimals, "0")
        return f"{whole}.{fraction}" if fraction else whole

    return prepare_value


def _more_than_zero(value: Any) -> None:
    if value <= 0:
        raise ValidationError("This has to be more than zero.")


__all__ = [
    "AccountInline",
    "AccountModelAdmin",
    "BaseModelAdmin",
    "is_platform_administrator",
]
