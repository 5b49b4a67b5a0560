"""Products and services: their columns in other systems, and how a row becomes one."""

from __future__ import annotations

from typing import Any

from crm.imports import fields as f
from crm.imports.duplicates import DuplicateRule
from crm.imports.fields import Context, Field
from crm.imports.staging import Sheet, StagingTable
from crm.imports.values import ValueRefusedError
from crm.models import Product, ProductKind

_KIND = {
    **dict.fromkeys(("service", "labor", "labour"), "service"),
    **dict.fromkeys(("material", "product", "part", "goods", "inventory"), "material"),
    **dict.fromkeys(("non inventory", "noninventory", "inventory part"), "material"),
}


def _line(column: str) -> f.Parser:
    return f.line(Product, column)


FIELDS = (
    Field("external_id", "External id", "productid itemid recordid id", _line("external_id")),
    Field(
        "name",
        "Name",
        "productname productservicename productservice itemname item product service title",
        _line("name"),
    ),
    Field("sku", "SKU", "itemnumber productnumber articlenumber partnumber code", _line("sku")),
    Field(
        "description",
        "Description",
        "salesdescription productdescription itemdescription",
        f.notes,
    ),
    Field("unit", "Unit", "unitofmeasure uom quantityperunit", _line("unit")),
    Field(
        "unit_price",
        "Unit price",
        "price salesprice salespricerate rate listprice defaultprice unitcharge",
        f.amount(14, 4),
        empty=None,
    ),
    Field("tax_name", "Tax name", "taxcode tax", _line("tax_name")),
    Field("tax_rate", "Tax rate", "taxpercent taxratepercent vatrate vat", f.percent, empty=0),
    Field("kind", "Kind", "type producttype itemtype category", f.choice(_KIND)),
    Field("is_active", "Is active", "active", f.yes_or_no, empty=True),
    Field("is_discontinued", "Is discontinued", "discontinued", f.yes_or_no, empty=False),
    Field(
        "stock",
        "Stock on hand",
        "unitsinstock quantityonhand qtyonhand stockonhand",
        f.any_amount,
        empty=None,
    ),
)
REQUIRED = ((("name",), "the product's name"), (("unit_price",), "its price"))
_COPIED = (
    ("kind", "text"),
    ("name", "text"),
    ("sku", "text"),
    ("description", "text"),
    ("unit", "text"),
    ("unit_price", "numeric"),
    ("tax_name", "text"),
    ("tax_rate", "numeric"),
    ("is_active", "boolean"),
    ("external_id", "text"),
)
TABLE = StagingTable("import_products", _COPIED)
RULES = (
    DuplicateRule("external id", ("r.external_id",), ("e.external_id",)),
    DuplicateRule("SKU", ("r.sku",), ("e.sku",)),
    # Articles that differ by their number only are different articles.
    DuplicateRule("name", ("lower(r.name)",), ("lower(e.name)",), when="r.sku = ''"),
)


def to_row(row: dict[str, Any], context: Context) -> tuple[Any, ...]:
    """A row for the staging table. Raises ValueRefusedError for one without a name or a price."""
    if not row["name"]:
        raise ValueRefusedError("The product has no name.")
    if row["unit_price"] is None:
        raise ValueRefusedError("The product has no price.")
    if not row["kind"]:
        # What is kept in stock is material, whatever the file calls it.
        row["kind"] = ProductKind.SERVICE if row["stock"] is None else ProductKind.MATERIAL
    row["is_active"] = row["is_active"] and not row["is_discontinued"]
    return tuple(row[column] for column, _ in _COPIED)


def write(sheet: Sheet) -> None:
    """Insert the products that are new."""
    columns = ", ".join(column for column, _ in _COPIED)
    sheet.created["products"] = sheet.in_chunks(
        TABLE,
        f"INSERT INTO products (user_id, {columns}) SELECT %(account)s, {columns} "
        "FROM import_products r WHERE {chunk} ORDER BY n",
    )
