"""What our own sessions begin with, whatever a login, a database or the server sets.

A database may show dates as German ones, quote every name or read a backslash otherwise. People
who work in it may want that; our queries, and what is compared of two databases, have one form.
"""

from __future__ import annotations

# Without its second part DateStyle keeps the order of day and month that the database has.
OUR_SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    "xmloption": "content",
}


_OURS = " ".join(f"-c {name}={value}" for name, value in OUR_SETTINGS.items())


def with_our_settings(given: str = "") -> str:
    """Return libpq's `options` with our settings; what is given comes after them, and wins."""
    return f"{_OURS} {without_our_settings(given)}".rstrip()


def without_our_settings(options: str) -> str:
    """Return the rest of libpq's `options`: PostgreSQL's own programs make settings themselves."""
    return options.removeprefix(_OURS).lstrip()
