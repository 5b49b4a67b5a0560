"""What the pages of quotes and invoices have in common: lines, totals, freezing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from crm.admin.base import AccountInline, AccountModelAdmin
from crm.admin.cells import EMPTY, link, money, number
from crm.admin.forms import CustomersWorkForm, LineForm
from crm.models.documents import Document
from crm.services.documents import recalculate
from ops.admin.looks import display


class LineInline(AccountInline):
    """The lines of a document, editable as long as the document is."""

    form = LineForm
    fields = (
        "product",
        "description",
        "quantity",
        "unit",
        "unit_price",
        "discount_percent",
        "tax_name",
        "tax_rate",
        "amount",
    )
    # A line that can't be edited any more is read, not filled in: no zeros behind the comma.
    fields_when_frozen = (
        "product",
        "description",
        "plain_quantity",
        "unit",
        "plain_price",
        "plain_discount",
        "plain_tax",
        "amount",
    )
    readonly_fields = (
        "amount",
        "plain_quantity",
        "plain_price",
        "plain_discount",
        "plain_tax",
    )
    autocomplete_fields = ("product",)
    ordering = ("position", "id")
    verbose_name_plural = "lines"

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if self._open(obj) else self.fields_when_frozen

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("product")

    def _open(self, obj: Any) -> bool:
        return obj is None or obj.is_editable

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._open(obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._open(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._open(obj) and super().has_delete_permission(request, obj)

    @display(description="Net", formatting="price")
    def amount(self, line: Any) -> SafeString | str:
        """What the line comes to, without a discount on the whole document."""
        if line.pk is None:
            return "-"
        document = getattr(line, self.parent_model._meta.model_name or "")
        return money(line.net, document.currency)

    @display(description="Quantity")
    def plain_quantity(self, line: Any) -> SafeString | str:
        """How many units."""
        return number(line.quantity)

    @display(description="Unit price")
    def plain_price(self, line: Any) -> SafeString | str:
        """The price of one unit, to the cent or as finely as it was set."""
        return number(line.unit_price, decimals=2)

    @display(description="Discount")
    def plain_discount(self, line: Any) -> SafeString | str:
        """The discount on the line, in percent."""
        return number(line.discount_percent, unit=" %") if line.discount_percent else EMPTY

    @display(description="Tax")
    def plain_tax(self, line: Any) -> SafeString | str:
        """Name and rate of the tax, in percent."""
        if not line.tax_rate:
            return line.tax_name or EMPTY
        return number(line.tax_rate, before=f"{line.tax_name} ".lstrip(), unit=" %")


class DocumentAdmin(AccountModelAdmin):
    """A quote or an invoice: its lines are added up on every save, and frozen once it is out."""

    form = CustomersWorkForm
    change_form_template = "crm/admin/document_form.html"
    autocomplete_fields: ClassVar[Any] = ("customer", "site")
    list_related = ("customer",)
    readonly_fields: ClassVar[Any] = ("totals",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        editable = not isinstance(obj, Document) or obj.is_editable  # type: ignore[attr-defined]
        return editable and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        draft = not isinstance(obj, Document) or obj.number is None
        return draft and super().has_delete_permission(request, obj)

    def save_model(
        self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool
    ) -> None:
        # The discount waits for the lines it is taken from: the table's checks tie the two.
        discount = obj.discount_total
        before = type(obj).objects.filter(pk=obj.pk).values_list("discount_total", flat=True)
        obj.discount_total = before.first() if change else Decimal(0)
        super().save_model(request, obj, form, change)
        obj.discount_total = discount

    def save_formset(
        self,
        request: HttpRequest,
        form: ModelForm[Any],
        formset: BaseModelFormSet[Any, Any],
        change: bool,
    ) -> None:
        for position, line_form in enumerate(formset.forms, start=1):
            # Lines keep the order in which the form shows them.
            if line_form.instance.position != position and line_form.has_changed():
                line_form.instance.position = position
        super().save_formset(request, form, formset, change)

    def finish_saving(self, row: Any) -> None:
        recalculate(document=row)

    @display(description="Total", ordering="total", formatting="price")
    def total_cell(self, document: Any) -> SafeString | str:
        """The total in the document's currency."""
        return money(document.total, document.currency)

    @display(description="Customer", ordering="customer__name")
    def customer_link(self, document: Any) -> SafeString | str:
        """The customer, linked."""
        return link(document.customer)

    @display(description="Totals")
    def totals(self, document: Any) -> SafeString | str:
        """The amounts as the one function that adds up wrote them."""
        if document._state.adding:
            return "Added up when you save."
        return render_to_string("crm/admin/totals.html", {"document": document})
