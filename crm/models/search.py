"""What a search box's text means for rows that have a number and a customer."""

from __future__ import annotations

import re

from django.db.models import F, Q

_NUMBER = re.compile(r"(?:(?:inv|q|j)[-\s]*)?0*(\d{1,9})", re.IGNORECASE)


def number_in(text: str) -> int | None:
    """The number a text asks for: 12 for `12`, `J-00012` and `inv 12`; None for other texts."""
    match = _NUMBER.fullmatch(text.strip())
    return int(match[1]) if match else None


def of_customer_or(text: str, *fields: str) -> Q:
    """Rows of which every word is in one of the fields or in what the customer is found by."""
    condition = Q()
    for word in text.casefold().split():
        found = Q(customer__search_text__contains=word)
        for field in fields:
            found |= Q(**{f"{field}__icontains": word})
        condition &= found
    return condition


def of_customer(text: str) -> Q:
    """Rows whose customer is found by every word of a text.

    The account is compared as well, although the foreign key implies it: every index on a
    customer's rows starts with it, and so a search over all accounts can use one.
    """
    condition = Q(account=F("customer__account"))
    for word in text.casefold().split():
        condition &= Q(customer__search_text__contains=word)
    return condition
