"""What quotes and invoices have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q

from crm.models.base import (
    AccountModel,
    money_field,
    notes_field,
    text_field,
)
from crm.models.catalogue import Product
from crm.models.currencies import CURRENCIES
from crm.models.customers import Customer, ServiceSite
from ops.rls.policies import SameAccountKey


class Document(AccountModel):
    """A document with lines and totals. Totals are written by `crm.services.documents` only."""

    account_parents: ClassVar[tuple[str, ...]] = ("customer",)

    number = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        db_comment="Number in the account's series; null while a draft.",
    )
    customer = models.ForeignKey(
        Customer,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="%(class)ss",
        db_comment="Whom the document is for.",
    )
    site = models.ForeignKey(
        ServiceSite,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="%(class)ss",
        db_comment="Where the work is done; null for the customer's own address.",
    )
    title = text_field("What the document is about.")
    currency = models.CharField(
        max_length=3,
        choices=CURRENCIES,
        editable=False,
        db_comment="ISO 4217 code, copied from the account.",
    )
    prices_include_tax = models.BooleanField(
        default=False, db_default=False, db_comment="Whether unit prices include tax."
    )
    discount_total = money_field("Discount on the whole document, before tax is added.")
    subtotal = money_field("Sum of the lines, without tax.", editable=False)
    tax_total = money_field("Sum of the taxes, rounded once per rate.", editable=False)
    total = money_field("What the customer pays.", editable=False)
    notes = notes_field("What the customer reads below the lines.")
    external_id = text_field("The document's id in the system it came from.", max_length=100)

    class Meta(AccountModel.Meta):
        abstract = True
        ordering = ("-id",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            SameAccountKey(name="%(class)s_customer_same_account", field="customer"),
            SameAccountKey(name="%(class)s_site_same_account", field="site"),
            models.UniqueConstraint(fields=["account", "number"], name="%(class)s_number"),
            models.CheckConstraint(
                condition=Q(total=F("subtotal") - F("discount_total") + F("tax_total")),
                name="%(class)s_total",
            ),
            models.CheckConstraint(
                condition=Q(subtotal__gte=0, discount_total__gte=0, tax_total__gte=0, total__gte=0),
                name="%(class)s_amounts",
                violation_error_message="The discount is larger than the document's lines.",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="%(class)s_currency"
            ),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.inherit_account()
        if not self.currency and self.account_id is not None:
            self.currency = self.account.currency
        super().save(*args, **kwargs)


class DocumentLine(AccountModel):
    """One line of a document. Name and rate of the tax are copied from the product, then kept."""

    position = models.PositiveIntegerField(
        default=0, db_default=0, db_comment="Order of the lines in the document."
    )
    product = models.ForeignKey(
        Product,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="%(class)ss",
        db_comment="What is sold; null for a line written by hand.",
    )
    description = models.CharField(
        max_length=500,
        blank=True,
        db_comment="What the customer reads; the product's name if empty.",
    )
    quantity = models.DecimalField(
        max_digits=12, decimal_places=3, default=1, db_default=1, db_comment="How many units."
    )
    unit = text_field("What one of it is: hour, piece, box.", max_length=60)
    unit_price = models.DecimalField(
        max_digits=14,
        decimal_places=4,
        blank=True,
        db_comment="Price of one unit; the product's if left empty.",
    )
    discount_percent = models.DecimalField(
        max_digits=7,
        decimal_places=4,
        default=0,
        db_default=0,
        db_comment="Discount on the line, in percent.",
    )
    tax_name = text_field("Name of the tax, copied from the product.", max_length=40)
    tax_rate = models.DecimalField(
        max_digits=7,
        decimal_places=4,
        default=0,
        db_default=0,
        blank=True,
        db_comment="Tax rate in percent, copied from the product.",
    )
    net = money_field("Quantity x price - discount, rounded half up.", editable=False)

    class Meta(AccountModel.Meta):
        abstract = True
        ordering = ("position", "id")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            SameAccountKey(name="%(class)s_product_same_account", field="product"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="%(class)s_quantity"),
            models.CheckConstraint(condition=Q(unit_price__gte=0), name="%(class)s_unit_price"),
            models.CheckConstraint(
                condition=Q(discount_percent__gte=0, discount_percent__lte=100),
                name="%(class)s_discount",
            ),
            models.CheckConstraint(
                condition=Q(tax_rate__gte=0, tax_rate__lte=100), name="%(class)s_tax_rate"
            ),
            models.CheckConstraint(condition=Q(net__gte=0), name="%(class)s_net"),
            models.CheckConstraint(condition=~Q(description=""), name="%(class)s_description"),
        ]

    def __str__(self) -> str:
        return self.description

    def copy_product(self) -> None:
        """Fill what was left empty from the product."""
        if self.product is None:
            return
        self.description = self.description or self.product.name
        self.unit = self.unit or self.product.unit
        price: Decimal | None = self.unit_price  # None on a form that left it empty
        if price is None:
            self.unit_price = self.product.unit_price
        if not self.tax_name and not self.tax_rate:
            self.tax_name, self.tax_rate = self.product.tax_name, self.product.tax_rate
