"""What columns and read-only fields show: amounts, links, coloured states."""

from __future__ import annotations

from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm.models.currencies import format_money
from ops.admin.links import EMPTY, add_url, change_url, link, links, list_url

# Unfold's colours of labels by meaning: neutral for what waits, green for what is done.
JOB_COLOURS = {
    "scheduled": "info",
    "in_progress": "primary",
    "on_hold": "warning",
    "completed": "success",
    "cancelled": "danger",
}
PRIORITY_COLOURS = {"high": "warning", "emergency": "danger"}
QUOTE_COLOURS = {
    "sent": "info",
    "accepted": "success",
    "declined": "danger",
    "changes_requested": "warning",
    "converted": "success",
}
INVOICE_COLOURS = {
    "unpaid": "info",
    "partial": "warning",
    "paid": "success",
    "overdue": "danger",
    "written_off": "warning",
}
PAYMENT_COLOURS = {
    "pending": "info",
    "completed": "success",
    "failed": "danger",
    "refunded": "warning",
}
CUSTOMER_COLOURS = {"lead": "info", "active": "success"}


def label(value: str, text: str, colours: dict[str, str]) -> tuple[str, str] | str:
    """What `@display(label=colours)` takes: the colour's key and the text, or the text alone."""
    return (value, text) if value in colours else text


def number(
    value: Decimal, *, decimals: int = 0, before: str = "", unit: str = ""
) -> SafeString | str:
    """A number as people write it: at least so many decimals, and no zeros behind them."""
    whole, _, fraction = f"{value:,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(decimals, "0")
    text = f"{whole}.{fraction}" if fraction else whole
    return format_html('<span class="srvc-money">{}{}{}</span>', before, text, unit)


def money(amount: Decimal | None, currency: str) -> SafeString | str:
    """An amount whose digits stand below each other."""
    if amount is None:
        return EMPTY
    return format_html('<span class="srvc-money">{}</span>', format_money(amount, currency))


def plain(number: Decimal | None) -> str:
    """A quantity or rate without the zeros that say nothing: 2.5 for 2.500."""
    if number is None:
        return EMPTY
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


__all__ = [
    "CUSTOMER_COLOURS",
    "EMPTY",
    "INVOICE_COLOURS",
    "JOB_COLOURS",
    "PAYMENT_COLOURS",
    "PRIORITY_COLOURS",
    "QUOTE_COLOURS",
    "add_url",
    "change_url",
    "label",
    "link",
    "links",
    "list_url",
    "money",
    "number",
    "plain",
]
