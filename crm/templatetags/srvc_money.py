"""Amounts in templates."""

from __future__ import annotations

from decimal import Decimal

from django import template

from crm.models.currencies import format_money

register = template.Library()


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """An amount as people read it; empty for none."""
    return format_money(amount, currency)
