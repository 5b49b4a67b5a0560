"""What our own sessions begin with, whatever a login, a database or the server sets.

A database may show dates as German ones, quote every name or read a backslash otherwise. People
who work in it may want that; our queries, and what is compared of two databases, have one form.
"""

from __future__ import annotations

from typing import Any

import psycopg

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

_SET = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in OUR_SETTINGS.items()
)


def make_our_settings(connection: psycopg.Connection[Any]) -> None:
    """Give a new session our settings. Raises psycopg.Error.

    By SQL and not at sign-in: a pooler refuses to be told of settings that it does not know.
    """
    connection.execute(_SET.encode(), prepare=False)
    if not connection.autocommit:
        connection.commit()
