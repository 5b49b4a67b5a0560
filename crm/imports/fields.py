"""What a column can be: a field with its common names and how its text is read."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models

from crm.imports import values
from crm.models import Account

# Where dates are written month first.
_MONTH_FIRST = frozenset({"US", "PH", "FM", "MH", "PW", "PR", "GU"})


@dataclass(frozen=True)
class Context:
    """What the text of a file means depends on where it comes from."""

    account_id: int
    currency: str
    zone: datetime.tzinfo
    phone_region: str
    prices_include_tax: bool
    day_first: bool
    comma_decimals: bool = False

    @classmethod
    def of(cls, account: Account, *, day_first: bool | None = None) -> Context:
        """The conventions of an account, the order of dates by its country unless given."""
        if day_first is None:
            day_first = account.phone_region not in _MONTH_FIRST
        return cls(
            account_id=account.pk,
            currency=account.currency,
            zone=ZoneInfo(account.time_zone),
            phone_region=account.phone_region,
            prices_include_tax=account.prices_include_tax,
            day_first=day_first,
        )


Parser = Callable[[str, Context], Any]


@dataclass(frozen=True)
class Field:
    """One field of a row. `names` are column names it is known by, the most telling first."""

    name: str
    label: str
    names: str
    parse: Parser
    empty: Any = ""

    @property
    def known_names(self) -> tuple[str, ...]:
        """Its own name, then the others, as `headers.simplify` writes them."""
        return (self.name.replace("_", ""), *self.names.split())


def line(model: type[models.Model], column: str) -> Parser:
    """A line of text as long as the column takes."""
    return short(limit(model, column))


def limit(model: type[models.Model], column: str) -> int:
    """How many characters a column takes."""
    field = model._meta.get_field(column)
    assert isinstance(field, models.CharField)
    assert field.max_length
    return field.max_length


def short(length: int) -> Parser:
    """A line of text up to a number of characters."""
    return lambda text, context: values.to_line(text, length)


def notes(text: str, context: Context) -> str:
    """Text of many lines."""
    return values.to_notes(text)


def email(text: str, context: Context) -> tuple[str, str]:
    """An e-mail address and what else the field held."""
    return values.to_email(text)


def phone(text: str, context: Context) -> str:
    """A phone number as written."""
    return values.to_phone(text, 60)


def amount(digits: int, places: int) -> Parser:
    """A number from zero up, of so many digits."""
    return lambda text, context: values.to_amount(
        text, digits=digits, places=places, comma_decimals=context.comma_decimals
    )


def any_amount(text: str, context: Context) -> Any:
    """A number of either sign, such as the stock on hand."""
    return values.to_amount(
        text, digits=14, places=4, comma_decimals=context.comma_decimals, signed=True
    )


def percent(text: str, context: Context) -> Any:
    """A percentage from 0 to 100, with or without its sign."""
    number = amount(7, 4)(text.rstrip("% "), context)
    if number > 100:
        raise values.ValueRefusedError(f"{values.shown(text)} is more than 100 %.")
    return number


def fraction(text: str, context: Context) -> Any:
    """A share from 0 to 1 as a percentage; `15%` is one already."""
    if text.endswith("%"):
        return percent(text, context)
    number = amount(9, 6)(text, context)
    if number > 1:
        raise values.ValueRefusedError(
            f"{values.shown(text)} is no share from 0 to 1. "
            "If it is a percentage, call the column “Discount %”."
        )
    return number * 100


def yes_or_no(text: str, context: Context) -> bool:
    """Yes or no."""
    return values.to_bool(text)


def moment(text: str, context: Context) -> datetime.datetime:
    """A date and time in the account's time zone."""
    return values.to_datetime(text, day_first=context.day_first, zone=context.zone)


def day(text: str, context: Context) -> datetime.date:
    """A date in the account's time zone."""
    return values.to_date(text, day_first=context.day_first, zone=context.zone)


def choice(words: Mapping[str, str]) -> Parser:
    """One of the words of other systems, as the word SRVC has for it."""

    def parse(text: str, context: Context) -> str:
        word = " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
        if word not in words:
            known = ", ".join(sorted(filter(None, set(words.values()))))
            raise values.ValueRefusedError(f"{values.shown(text)} is unknown; SRVC knows {known}.")
        return words[word]

    return parse
