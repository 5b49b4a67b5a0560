"""Customers by the million."""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterator, Sequence
from random import Random

from crm.seeding import places
from crm.seeding.bulk.accounts import SeededAccount
from crm.seeding.bulk.copying import Copier

YEARS_OF_CUSTOMERS = 3
_COLUMNS = (
    "id", "user_id", "created_at", "updated_at", "status", "first_name", "last_name",
    "company_name", "job_title", "email", "phone", "phone_e164", "address_line1", "city",
    "region", "postal_code", "country",
)  # fmt: skip


def copy_customers(
    copier: Copier, accounts: Sequence[SeededAccount], rng: Random, today: datetime.date
) -> None:
    """Write every account's customers, as time would have: interleaved, in the order of days.

    Remembers each customer's id on its account.
    """
    turns = array("L")
    for position, account in enumerate(accounts):
        turns.extend([position] * account.customers)
    rng.shuffle(turns)
    ids = copier.new_ids("customers", len(turns))
    copier.copy("customers", _COLUMNS, _lines(ids, accounts, turns, rng, today))


def _lines(
    ids: Sequence[int],
    accounts: Sequence[SeededAccount],
    turns: Sequence[int],
    rng: Random,
    today: datetime.date,
) -> Iterator[str]:
    firsts, lasts = places.FIRST_NAMES, places.LAST_NAMES
    towns = {
        country.code: [
            f"{city}\t{region}\t{code}\t{country.name}" for city, region, code in country.towns
        ]
        for country in places.COUNTRIES
    }
    bits = rng.getrandbits
    days = YEARS_OF_CUSTOMERS * 365
    start = today - datetime.timedelta(days=days)
    total = len(turns)
    last_day, moment = -1, ""
    for count, (customer, turn) in enumerate(zip(ids, turns, strict=True)):
        account = accounts[turn]
        country = account.country
        # One draw of random bits for the whole row: the loop's cost is mostly its draws.
        rest, chance = divmod(bits(80), 100)
        rest, i = divmod(rest, len(firsts))
        rest, j = divmod(rest, len(lasts))
        rest, house = divmod(rest, 9_000)
        rest, street = divmod(rest, len(country.streets))
        rest, town = divmod(rest, len(country.towns))
        if (day := count * days // total) != last_day:
            last_day, moment = day, f"{start + datetime.timedelta(days=day)} 17:00:00+00"
        first, last = firsts[i], lasts[j]
        company, title = _company(rest, chance)
        written, e164 = country.phone(rest)
        account.customer_ids.append(customer)
        status = "lead" if chance % 12 == 0 else "archived" if chance % 15 == 1 else "active"
        email = f"{first}.{last.replace("'", '')}{count}@example.com".lower()
        yield (
            f"{customer}\t{account.id}\t{moment}\t{moment}\t{status}\t{first}\t{last}\t{company}\t"
            f"{title}\t{email}\t{written}\t{e164}\t{house + 1} {country.streets[street]}\t"
            f"{towns[country.code][town]}\n"
        )


def _company(bits: int, chance: int) -> tuple[str, str]:
    """A company and what the person does there, for one customer in four."""
    if chance >= 25:
        return "", ""
    names, kinds, titles = places.COMPANY_NAMES, places.COMPANY_KINDS, places.JOB_TITLES
    name, kind = names[bits % len(names)], kinds[bits // len(names) % len(kinds)]
    return f"{name} {kind}", titles[bits % len(titles)]
