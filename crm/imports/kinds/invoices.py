"""Invoices and their lines, from one flat file or a file of each, joined by id."""

from __future__ import annotations

from typing import Any

from crm.imports import fields as f
from crm.imports.duplicates import DuplicateRule
from crm.imports.fields import Context, Field
from crm.imports.references import (
    CUSTOMER_COLUMNS,
    CUSTOMER_FIELDS,
    CUSTOMER_RESOLVED,
    CUSTOMER_WANTED,
    customer_values,
)
from crm.imports.staging import StagingTable
from crm.imports.values import ValueRefusedError
from crm.models import Invoice

_STATUS = {
    "draft": "draft",
    **dict.fromkeys(("issued", "open", "sent", "unpaid", "outstanding", "viewed"), "issued"),
    **dict.fromkeys(("overdue", "past due", "late", "awaiting payment"), "issued"),
    **dict.fromkeys(("partial", "partially paid"), "issued"),
    **dict.fromkeys(("paid", "paid in full", "closed", "complete", "completed"), "paid"),
    **dict.fromkeys(("void", "voided", "cancelled", "canceled"), "void"),
    **dict.fromkeys(("written off", "bad debt", "uncollectible"), "written_off"),
}


def _line(column: str) -> f.Parser:
    return f.line(Invoice, column)


# The payment's external id is this one with "invoice:" in front, and has a hundred characters.
_ID = Field(
    "external_id",
    "Invoice number",
    "invoiceid invoicenumber invoiceno invoice docnumber orderid ordernumber number num id",
    f.short(92),
)
HEADER_FIELDS = (
    _ID,
    *CUSTOMER_FIELDS,
    Field(
        "job_ref", "Job's external id", "jobid jobnumber workorder workordernumber", f.short(100)
    ),
    Field(
        "issue_date",
        "Date",
        "invoicedate issueddate dateissued date orderdate createdate createddate",
        f.day,
        empty=None,
    ),
    Field("due_date", "Due date", "paymentdue due requireddate", f.day, empty=None),
    Field("status", "Status", "invoicestatus", f.choice(_STATUS)),
    Field("is_paid", "Paid", "paid", f.yes_or_no, empty=None),
    Field("paid_on", "Paid on", "paiddate datepaid paymentdate markedpaiddate", f.day, empty=None),
    Field(
        "amount_paid", "Amount paid", "paidamount paidtotal totalpaid", f.amount(14, 2), empty=None
    ),
    Field("title", "Title", "subject invoicetitle", _line("title")),
    Field("notes", "Notes", "memo message customermessage note comments", f.notes),
    Field("currency", "Currency", "currencycode", f.short(3)),
)
LINE_FIELDS = (
    Field("product_ref", "Product's external id", "productid itemid", f.short(100)),
    Field("sku", "SKU", "itemnumber productnumber articlenumber", f.short(60)),
    Field(
        "product_name",
        "Product's name",
        "product item itemname productservice productservicename itemproductservice lineitem "
        "lineitems service",
        f.short(200),
    ),
    Field("line_description", "Description", "description itemdescription", f.short(500)),
    Field("quantity", "Quantity", "qty itemquantity hours units", f.amount(12, 3), empty=None),
    Field("unit", "Unit", "unitofmeasure uom", f.short(60)),
    Field("unit_price", "Unit price", "price rate itemrate", f.amount(14, 4), empty=None),
    Field(
        "line_total",
        "Line amount",
        "amount itemamount linetotal lineamount pretaxtotal",
        f.amount(14, 2),
        empty=None,
    ),
    Field("discount", "Discount, as a share of 1", "linediscount", f.fraction, empty=None),
    Field("discount_percent", "Discount %", "discountrate percentdiscount", f.percent, empty=None),
    Field("tax_name", "Tax name", "taxcode", f.short(40)),
    Field("tax_rate", "Tax rate", "taxpercent vatrate itemtaxrate", f.percent, empty=0),
)
FIELDS = (*HEADER_FIELDS, *LINE_FIELDS)
_HEADER = (
    ("external_id", "text"),
    ("job_ref", "text"),
    ("issue_date", "date"),
    ("due_date", "date"),
    ("status", "text"),
    ("is_paid", "boolean"),
    ("paid_on", "date"),
    ("amount_paid", "numeric"),
    ("title", "text"),
    ("notes", "text"),
)
INVOICES = StagingTable(
    "import_invoices",
    (*_HEADER, ("flat", "boolean"), *CUSTOMER_COLUMNS),
    (
        *CUSTOMER_RESOLVED,
        ("number", "int"),
        ("invoice_id", "bigint"),
        ("job_id", "bigint"),
        ("subtotal", "numeric"),
        ("tax_total", "numeric"),
        ("total", "numeric"),
    ),
)
_LINE = (
    ("external_id", "text"),
    ("product_ref", "text"),
    ("sku", "text"),
    ("product_name", "text"),
    ("line_description", "text"),
    ("quantity", "numeric"),
    ("unit", "text"),
    ("unit_price", "numeric"),
    ("discount_percent", "numeric"),
    ("tax_name", "text"),
    ("tax_rate", "numeric"),
    ("line_total", "numeric"),
)
LINES = StagingTable(
    "import_lines", _LINE, (("product_id", "bigint"), ("position", "int"), ("net", "numeric"))
)
RULES = (DuplicateRule("external id", ("r.external_id",), ("e.external_id",)),)
HEADER_WANTED = (
    (("external_id",), "the invoice's number"),
    (CUSTOMER_WANTED, "whose invoice it is"),
    (("issue_date",), "the invoice's date"),
)
LINE_WANTED = (
    (("external_id",), "the invoice a line belongs to"),
    (("unit_price", "line_total"), "a line's price"),
)
# A flat file is read once for invoices, once for lines: said alike, it is told once.
NO_NUMBER = "The row has no invoice number."
_PAID_COLUMNS = ("status", "is_paid", "paid_on", "amount_paid")


def names_customer(columns: Any) -> bool:
    """Whether a file's columns describe invoices, not only their lines."""
    return any(name in columns for name in CUSTOMER_WANTED)


def has_lines(columns: Any) -> bool:
    """Whether a file's columns describe lines."""
    return any(name in columns for name in LINE_WANTED[1][0])


def counts_as_paid(columns: Any, id_column: str) -> bool:
    """An export of orders says nothing about payment: what was ordered then is paid by now."""
    return id_column.startswith("order") and not any(name in columns for name in _PAID_COLUMNS)


def to_header(row: dict[str, Any], context: Context) -> tuple[Any, ...]:
    """A row for the staging table of invoices. Raises ValueRefusedError for one that can't be."""
    if not row["external_id"]:
        raise ValueRefusedError(NO_NUMBER)
    if row["currency"] and row["currency"].upper() != context.currency:
        raise ValueRefusedError(
            f"The invoice is in {row['currency']}, the account in {context.currency}."
        )
    _settle(row)
    if row["due_date"] and row["issue_date"] and row["due_date"] < row["issue_date"]:
        raise ValueRefusedError("The invoice is due before its date.")
    is_order = row["id_column"].startswith("order")
    if is_order:
        # Orders come in as jobs too, and what is billed is the job.
        row["job_ref"] = row["job_ref"] or row["external_id"]
    row["title"] = row["title"] or f"{'Order' if is_order else 'Invoice'} {row['external_id']}"
    copied = (row[column] for column, _ in _HEADER)
    return (*copied, row["flat"], *customer_values(row))


def _settle(row: dict[str, Any]) -> None:
    """Whether the invoice is paid: as the caller says, else as its row says, else its file."""
    paid = row["is_paid"]
    if row["status"] == "paid" or row["paid_on"] or row["amount_paid"]:
        paid = True
    if paid is None:
        paid = row["counts_as_paid"]
    if row["force_paid"] is not None:
        paid = row["force_paid"]
        row["amount_paid"] = None
    row["status"] = "issued" if row["status"] in {"", "paid"} else row["status"]
    if paid and row["status"] == "draft" and row["force_paid"] is None:
        raise ValueRefusedError("The invoice is a draft and paid at once.")
    row["is_paid"] = bool(paid) and row["status"] in {"issued", "written_off"}


def to_line(row: dict[str, Any], context: Context) -> tuple[Any, ...] | None:
    """A row for the staging table of lines; None for a row that only describes its invoice."""
    if row["unit_price"] is None and row["line_total"] is None:
        if row["product_ref"] or row["sku"] or row["product_name"] or row["quantity"]:
            raise ValueRefusedError("The line has no price.")
        return None
    if not row["external_id"]:
        raise ValueRefusedError(NO_NUMBER)
    if row["quantity"] == 0:
        raise ValueRefusedError("The quantity is zero.")
    if row["discount_percent"] is None:
        row["discount_percent"] = row["discount"] or 0
    _price(row)
    return tuple(row[column] for column, _ in _LINE)


def _price(row: dict[str, Any]) -> None:
    """Quantity and price where the file has only the line's amount."""
    row["quantity"] = 1 if row["quantity"] is None else row["quantity"]
    if row["unit_price"] is not None:
        return
    price = row["line_total"] / row["quantity"]
    if row["discount_percent"] or price != round(price, 4):
        # The amount has its discount in it, or does not divide: one piece at that price.
        row["quantity"], price, row["discount_percent"] = 1, row["line_total"], 0
    row["unit_price"] = round(price, 4)
