"""Products and services that lines of documents are made of."""

from __future__ import annotations

from typing import ClassVar, Self

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Lower

from crm.models.base import (
    AccountModel,
    notes_field,
    same_account_unique_external_id,
    text_field,
)
from crm.models.history import track_history


class ProductKind(models.TextChoices):
    SERVICE = "service", "Service"
    MATERIAL = "material", "Material"


class ProductQuerySet(models.QuerySet["Product"]):
    def on_sale(self) -> Self:
        """Products that new lines may use."""
        return self.filter(is_active=True)

    def matching(self, text: str) -> Self:
        """Products whose name, number or external id hold every word of a text."""
        products = self
        for word in text.casefold().split():
            products = products.filter(search_text__contains=word)
        return products


@track_history(exclude=("search_text",))
class Product(AccountModel):
    """Something the business sells: an hour, a filter, a call-out."""

    kind = models.CharField(
        max_length=10,
        choices=ProductKind,
        default=ProductKind.SERVICE,
        db_default=ProductKind.SERVICE,
        db_comment="service or material.",
    )
    name = models.CharField(max_length=200, db_comment="What a line of a document calls it.")
    sku = text_field("The business's own article number.", max_length=60)
    description = notes_field("What the customer reads below the name.")
    unit = text_field("What one of it is: hour, piece, box.", max_length=60)
    unit_price = models.DecimalField(
        max_digits=14, decimal_places=4, db_comment="Price of one unit, in the account's currency."
    )
    tax_name = text_field("Name of the tax on it, such as VAT.", max_length=40)
    tax_rate = models.DecimalField(
        max_digits=7,
        decimal_places=4,
        default=0,
        db_default=0,
        db_comment="Tax rate in percent, to four decimals.",
    )
    is_active = models.BooleanField(
        default=True, db_default=True, db_comment="Whether new lines may use it."
    )
    external_id = text_field("The product's id in the system the row came from.", max_length=100)
    search_text = models.GeneratedField(
        expression=Lower(Concat(F("name"), Value(" "), F("sku"), Value(" "), F("external_id"))),
        output_field=models.TextField(),
        db_persist=True,
        db_comment="Everything the search box looks at, in lower case.",
    )

    objects = ProductQuerySet.as_manager()

    class Meta(AccountModel.Meta):
        db_table = "products"
        db_table_comment = "Products and services that documents' lines are made of."
        ordering = ("name", "id")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "name", "id"], name="products_name"),
            GinIndex(OpClass("search_text", "gin_trgm_ops"), name="products_search"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            models.CheckConstraint(condition=Q(kind__in=ProductKind.values), name="product_kind"),
            models.CheckConstraint(condition=~Q(name=""), name="product_name"),
            models.CheckConstraint(condition=Q(unit_price__gte=0), name="product_unit_price"),
            models.CheckConstraint(
                condition=Q(tax_rate__gte=0, tax_rate__lte=100), name="product_tax_rate"
            ),
            models.UniqueConstraint(
                fields=["account", "sku"],
                condition=~Q(sku=""),
                name="product_sku",
                violation_error_message="Another product of this account has this number.",
            ),
            same_account_unique_external_id("product"),
        ]

    def __str__(self) -> str:
        return self.name
