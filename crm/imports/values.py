"""What a field's text means: text, numbers, dates, yes and no. Each refuses what it can't read."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

MISSING = frozenset({"NULL", "\\N"})
_SIGNED_NUMBER = re.compile(r"[+-]?[\d\s.,/()-]*\d[\d\s.,/()%-]*\Z|[+-]+\Z", re.ASCII)
_FORMULA_PARTS = re.compile(r"[(|!=]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PHONE = re.compile(r"(?:\+[\s(]*\d|[\w(#*])[\w\s()+./\-#*,;:&]*\Z")
_DECORATION = re.compile(r"[\s\u00a0\u202f']|[$€£¥]|\b[A-Z]{3}\b")
_PLAIN = re.compile(r"\d+(\.\d+)?\Z|\.\d+\Z", re.ASCII)
_COMMA_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?\Z", re.ASCII)
_DOT_THOUSANDS = re.compile(r"\d{1,3}(\.\d{3})+(,\d+)?\Z", re.ASCII)
_COMMA_DECIMALS = re.compile(r"\d*,\d+\Z", re.ASCII)


class ValueRefusedError(ValueError):
    """The text can't be taken for what its column holds; the message says why."""


def clean(text: str) -> str:
    """A field without space around it; `NULL` and `\\N` written out are empty."""
    text = text.strip()
    return "" if text in MISSING else text


def to_line(text: str, limit: int) -> str:
    """One line of text. Raises ValueRefusedError for formulas, control characters, too much."""
    text = _safe(text, strict=True)
    if "\n" in text or "\r" in text or "\t" in text:
        text = " ".join(text.split())
    if len(text) > limit:
        raise ValueRefusedError(f"The text has {len(text):,} characters; {limit} fit.")
    return text


def to_notes(text: str) -> str:
    """Text of any length and many lines. Raises ValueRefusedError for formulas."""
    return _safe(text, strict=False).replace("\r\n", "\n").replace("\r", "\n")


def _safe(text: str, *, strict: bool) -> str:
    if not text:
        return text
    if text[0] in "=+-@\uff1d\uff0b\uff0d\uff20":
        # A note may begin with a dash; a name may not, unless the rest is digits.
        harmless = _SIGNED_NUMBER.match(text) or (not strict and not _FORMULA_PARTS.search(text))
        if text[0] == "=" or not harmless:
            raise ValueRefusedError(
                f"{shown(text)} begins like a spreadsheet's formula. "
                "Put a word in front, or take the sign away."
            )
    if _CONTROL.search(text):
        raise ValueRefusedError("The text has control characters in it.")
    return text


def shown(text: str) -> str:
    """The beginning of a text in quotes, for messages."""
    return f"“{text[:37]}…”" if len(text) > 40 else f"“{text}”"


def to_email(text: str) -> tuple[str, str]:
    """The first e-mail address of a field, and the others. Raises ValueRefusedError for none."""
    first, *others = re.split(r"[,;\s]+", text.strip(",; ")) or [""]
    try:
        validate_email(first)
    except ValidationError:
        raise ValueRefusedError(f"{shown(text)} is no e-mail address.") from None
    if len(first) > 254:
        raise ValueRefusedError("The e-mail address is longer than 254 characters.")
    return first, ", ".join(others)


def to_phone(text: str, limit: int) -> str:
    """A phone number as written, `+` and all. Raises ValueRefusedError for what can't be one."""
    if not _PHONE.match(text) or sum(map(str.isdecimal, text)) < 3:
        raise ValueRefusedError(f"{shown(text)} is no phone number.")
    if len(text) > limit:
        raise ValueRefusedError(f"The phone number has {len(text)} characters; {limit} fit.")
    return text


@lru_cache(maxsize=4096)
def to_decimal(text: str, *, comma_decimals: bool = False) -> Decimal:
    """A number, with or without a currency and thousands separators; `(5)` is -5.

    `comma_decimals` says that the file comes from where 1,234 is less than two. Raises
    ValueRefusedError for text, for infinity, and for what could be two numbers.
    """
    bare = _DECORATION.sub("", text).replace("\u2212", "-")
    sign = 1
    if bare.startswith("(") and bare.endswith(")"):
        sign, bare = -1, bare[1:-1]
    if bare[:1] in {"-", "+"}:
        sign, bare = (-sign if bare[0] == "-" else sign), bare[1:]
    if comma_decimals and re.fullmatch(r"\d{1,3}\.\d{3}", bare, re.ASCII) and bare[0] != "0":
        whole, fraction = bare.replace(".", ""), bare
        raise ValueRefusedError(
            f"{shown(text)} could be {whole} or {fraction}. Write it without thousands separators."
        )
    if _PLAIN.match(bare):
        return sign * Decimal(bare)
    if not comma_decimals and _COMMA_THOUSANDS.match(bare):
        return sign * Decimal(bare.replace(",", ""))
    if _DOT_THOUSANDS.match(bare):
        return sign * Decimal(bare.replace(".", "").replace(",", "."))
    if _COMMA_DECIMALS.match(bare):
        return sign * Decimal(bare.replace(",", "."))
    if comma_decimals and _COMMA_THOUSANDS.match(bare):
        return sign * Decimal(bare.replace(",", ""))
    raise ValueRefusedError(f"{shown(text)} is no number.")


def to_amount(
    text: str, *, digits: int, places: int, comma_decimals: bool, signed: bool = False
) -> Decimal:
    """A number that fits a numeric(digits, places) column; below zero only when `signed`."""
    number = to_decimal(text, comma_decimals=comma_decimals)
    if number < 0 and not signed:
        raise ValueRefusedError(f"{shown(text)} is below zero.")
    if number != round(number, places):
        raise ValueRefusedError(f"{shown(text)} has more than {places} decimals.")
    if abs(number) >= Decimal(10) ** (digits - places):
        raise ValueRefusedError(f"{shown(text)} is too large.")
    return number


_YES = frozenset({"1", "true", "t", "yes", "y", "x", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off", "-"})


def to_bool(text: str) -> bool:
    """Yes or no. Raises ValueRefusedError for anything else."""
    word = text.casefold()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueRefusedError(f"{shown(text)} is neither yes nor no.")


_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\Z", re.ASCII)
_NUMERIC = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})\Z", re.ASCII)
_NAMED = ("%b %d %Y", "%B %d %Y", "%d %b %Y", "%d %B %Y", "%a %b %d %Y", "%d-%b-%Y", "%d-%b-%y")
_TIME = re.compile(
    r"[T\s,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*"
    r"(Z|UTC|[+-]\d{2}:?\d{2})?\Z",
    re.ASCII,
)


@lru_cache(maxsize=8192)
def to_datetime(text: str, *, day_first: bool, zone: datetime.tzinfo) -> datetime.datetime:
    """A date with or without a time of day, in a time zone unless it names its own.

    A date alone is its first moment. Raises ValueRefusedError for dates that don't exist and for
    years before 1900 or after 2200.
    """
    time, offset = datetime.time(), zone
    day = text
    if found := _TIME.search(text):
        day = text[: found.start()]
        time = _time(found, text)
        if found.group(5):
            offset = _offset(found.group(5))
    date = _date(day.strip(), text, day_first)
    if not 1900 <= date.year <= 2200:
        raise ValueRefusedError(f"{shown(text)} is not between the years 1900 and 2200.")
    return datetime.datetime.combine(date, time, tzinfo=offset)


def to_date(text: str, *, day_first: bool, zone: datetime.tzinfo) -> datetime.date:
    """The day of a date or time, as it is in the time zone."""
    return to_datetime(text, day_first=day_first, zone=zone).astimezone(zone).date()


def _time(found: re.Match[str], text: str) -> datetime.time:
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if found[4]:
        if not 1 <= hour <= 12:
            raise ValueRefusedError(f"{shown(text)} has no such time of day.")
        hour = hour % 12 + (12 if found[4][0] in "pP" else 0)
    try:
        return datetime.time(hour, minute, second)
    except ValueError:
        raise ValueRefusedError(f"{shown(text)} has no such time of day.") from None


def _offset(text: str) -> datetime.tzinfo:
    if text in {"Z", "UTC"}:
        return datetime.UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    delta = datetime.timedelta(hours=hours, minutes=minutes)
    return datetime.timezone(-delta if text[0] == "-" else delta)


def _date(day: str, text: str, day_first: bool) -> datetime.date:
    try:
        if found := _ISO.match(day):
            return datetime.date(int(found[1]), int(found[2]), int(found[3]))
        if found := _NUMERIC.match(day):
            one, two, year = int(found[1]), int(found[2]), int(found[3])
            # 13.12. has its day first wherever it was written with dots.
            first = day_first or "." in day
            return datetime.date(year, two if first else one, one if first else two)
    except ValueError:
        order = "day/month/year" if day_first else "month/day/year"
        raise ValueRefusedError(
            f"{shown(text)} is no date, read as year-month-day or {order}."
        ) from None
    plain = " ".join(day.replace(",", " ").split())
    for pattern in _NAMED:
        try:
            return datetime.datetime.strptime(plain, pattern).date()  # noqa: DTZ007
        except ValueError:
            continue
    raise ValueRefusedError(f"{shown(text)} is no date.")
