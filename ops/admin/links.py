"""Addresses of the admin's pages, and links to them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

EMPTY = "-"


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
