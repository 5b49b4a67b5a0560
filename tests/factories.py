"""Businesses and their rows for tests, made through the same services as in life.

Each function runs in the context its caller opened (`acting_as…`).
"""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

from crm.models import Account, Customer, Invoice, InvoiceLine, Quote, QuoteLine, User
from crm.services.accounts import create_account
from crm.services.documents import recalculate
from ops.rls.session import acting_as_admin

_numbers = itertools.count(1)
A_DAY = dt.date(2026, 3, 2)


def make_business(name: str = "", **options: Any) -> User:
    """A business; returns its owner."""
    number = next(_numbers)
    with acting_as_admin(via="factory"):
        account = create_account(
            email=options.pop("email", f"owner{number}@business.example"),
            name=name or f"Business {number}",
            password=options.pop("password", "a long pass phrase"),
            by=None,
            **options,
        )
        return User.objects.select_related("account").get(pk=account.pk)


def make_customer(**fields: Any) -> Customer:
    """A customer of the acting business."""
    fields = {"first_name": "Ada", "last_name": f"Number {next(_numbers)}", **fields}
    return Customer.objects.create(**fields)


def make_invoice(customer: Customer, *prices: str, **fields: Any) -> Invoice:
    """A draft invoice with one line per price."""
    invoice = Invoice.objects.create(customer=customer, **fields)
    for position, price in enumerate(prices):
        InvoiceLine.objects.create(
            invoice=invoice, description="Work", position=position, unit_price=Decimal(price)
        )
    recalculate(document=invoice)
    return invoice


def make_quote(customer: Customer, *prices: str, **fields: Any) -> Quote:
    """A draft quote with one line per price."""
    quote = Quote.objects.create(customer=customer, **fields)
    for position, price in enumerate(prices):
        QuoteLine.objects.create(
            quote=quote, description="Work", position=position, unit_price=Decimal(price)
        )
    recalculate(document=quote)
    return quote


def account_of(owner: User) -> Account:
    """The business an owner belongs to."""
    assert owner.account is not None
    return owner.account
