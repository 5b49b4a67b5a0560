"""What columns and read-only fields show: amounts, links, coloured states."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from crm.models.currencies import format_money

EMPTY = "-"
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


def change_url(row: models.Model) -> str:
    """The address of a row's page in the admin."""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def list_url(model: type[models.Model], **filters: str | int) -> str:
    """The address of a model's list, filtered."""
    meta = model._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    return f"{url}?{urlencode(filters)}" if filters else url


def add_url(model: type[models.Model], **initial: str | int) -> str:
    """The address of a model's add page, with fields filled in."""
    meta = model._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_add")
    return f"{url}?{urlencode(initial)}" if initial else url


def link(row: models.Model | None, text: str = "") -> SafeString | str:
    """A link to a row's page; a dash for none."""
    if row is None:
        return EMPTY
    text = text or str(row)
    try:
        return format_html('<a href="{}" class="srvc-link">{}</a>', change_url(row), text)
    except NoReverseMatch:
        return text


def links(rows: Iterable[models.Model], *, attribute: str = "") -> SafeString | str:
    """Links to rows, side by side; a dash for none."""
    items = [(link(row, getattr(row, attribute) if attribute else ""),) for row in rows]
    return format_html_join(" · ", "{}", items) if items else EMPTY
