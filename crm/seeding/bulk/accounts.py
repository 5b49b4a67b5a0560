"""Accounts, their people and their products."""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from crm.models import OFFICE_GROUP, OWNER_GROUP, TECHNICIAN_GROUP
from crm.seeding.bulk.copying import Copier, text_line
from crm.seeding.places import COUNTRIES, FIRST_NAMES, LAST_NAMES, Country
from crm.seeding.scales import Scale
from crm.seeding.trades import TRADES, Trade

# Nobody signs in to a bulk account: no hash begins like this (Django's mark of "no password").
_NO_PASSWORD = "!"  # noqa: S105
_FAR_BACK = datetime.timedelta(days=3 * 365)


@dataclass
class SeededAccount:
    """One business while it is being written."""

    id: int
    customers: int
    country: Country
    trade: Trade
    rng: Random
    office: int
    technician: int
    product_ids: list[int] = field(default_factory=list)
    customer_ids: array[int] = field(default_factory=lambda: array("q"))


def copy_accounts(
    copier: Copier, scale: Scale, seed: int, today: datetime.date
) -> list[SeededAccount]:
    """Write the scale's accounts with an owner, an office and a technician each, and products."""
    ids = iter(copier.new_ids("users", 3 * scale.accounts))
    accounts = []
    for position, customers in enumerate(scale.sizes()):
        rng = Random(f"{seed}/{scale.name}/{position}")  # noqa: S311 (made-up rows)
        accounts.append(
            SeededAccount(
                next(ids), customers, rng.choice(COUNTRIES), rng.choice(TRADES), rng,
                office=next(ids), technician=next(ids),
            )
        )  # fmt: skip
    moment = f"{today - _FAR_BACK} 08:00:00+00"
    copier.copy(
        "users",
        ("id", "email", "password", "first_name", "last_name", "is_staff", "is_active",
         "is_superuser", "date_joined", "account_id"),
        _people(accounts, scale, moment),
    )  # fmt: skip
    copier.copy(
        "accounts",
        ("user_id", "name", "currency", "time_zone", "phone_region", "created_at", "updated_at"),
        (
            text_line(
                (account.id, f"{account.country.towns[0][0]} {account.trade.label} {position + 1}",
                 account.country.currency, account.country.time_zone, account.country.code,
                 moment, moment)
            )
            for position, account in enumerate(accounts)
        ),
    )  # fmt: skip
    groups = dict(copier.execute("SELECT name, id FROM auth_group"))
    copier.copy(
        "users_groups",
        ("user_id", "group_id"),
        (
            text_line((user, groups[group]))
            for account in accounts
            for user, group in (
                (account.id, OWNER_GROUP),
                (account.office, OFFICE_GROUP),
                (account.technician, TECHNICIAN_GROUP),
            )
        ),
    )
    products = sum(len(account.trade.articles) for account in accounts)
    copier.copy(
        "products",
        ("id", "user_id", "kind", "name", "sku", "unit", "unit_price", "tax_name", "tax_rate"),
        _products(iter(copier.new_ids("products", products)), accounts),
    )
    return accounts


def _people(accounts: list[SeededAccount], scale: Scale, moment: str) -> Iterator[str]:
    for position, account in enumerate(accounts):
        emails = (
            (account.id, scale.owner_email(position)),
            (account.office, f"office{position + 1}@{scale.name}.example"),
            (account.technician, f"technician{position + 1}@{scale.name}.example"),
        )
        for user, email in emails:
            first, last = account.rng.choice(FIRST_NAMES), account.rng.choice(LAST_NAMES)
            yield text_line(
                (user, email, _NO_PASSWORD, first, last, True, True, False, moment, account.id)
            )


def _products(ids: Iterator[int], accounts: list[SeededAccount]) -> Iterator[str]:
    for account in accounts:
        country = account.country
        for number, article in enumerate(account.trade.articles, 1):
            product = next(ids)
            account.product_ids.append(product)
            yield text_line(
                (product, account.id, article.kind, article.name, f"{account.trade.key}-{number}",
                 article.unit, Decimal(article.price), country.tax_name, Decimal(country.tax_rate))
            )  # fmt: skip
