"""Currencies an account can choose (ISO 4217, those with at most two decimals)."""

from decimal import Decimal

CURRENCIES = [
    ("USD", "US dollar"),
    ("EUR", "Euro"),
    ("GBP", "Pound sterling"),
    ("CAD", "Canadian dollar"),
    ("AUD", "Australian dollar"),
    ("NZD", "New Zealand dollar"),
    ("CHF", "Swiss franc"),
    ("DKK", "Danish krone"),
    ("NOK", "Norwegian krone"),
    ("SEK", "Swedish krona"),
    ("PLN", "Polish złoty"),
    ("CZK", "Czech koruna"),
    ("BRL", "Brazilian real"),
    ("MXN", "Mexican peso"),
    ("ZAR", "South African rand"),
    ("INR", "Indian rupee"),
    ("SGD", "Singapore dollar"),
    ("JPY", "Japanese yen"),
    ("KRW", "South Korean won"),
]

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CAD": "CA$", "AUD": "A$", "INR": "₹"}
_WITHOUT_CENTS = {"JPY", "KRW"}


def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 for most, 1 for yen and won."""
    return Decimal(1) if currency in _WITHOUT_CENTS else Decimal("0.01")


def format_money(amount: Decimal | int | None, currency: str) -> str:
    """An amount as people read it: `$1,234.50`; an empty string for None."""
    if amount is None:
        return ""
    quantized = Decimal(amount).quantize(minor_unit(currency))
    sign = "-" if quantized < 0 else ""
    symbol = SYMBOLS.get(currency, f"{currency} ")
    return f"{sign}{symbol}{abs(quantized):,}"
