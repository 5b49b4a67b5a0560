"""The settings under which two databases with the same content say the same.

How PostgreSQL prints a date, a float, an amount or a function's name depends on the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Json

Connection = psycopg.Connection[tuple[Any, ...]]

SETTINGS = {
    # Names outside pg_catalog come with their schema, whatever the login's own path is.
    "search_path": "pg_catalog, pg_temp",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    # A login that may see a part of a table gets an error, never the proof of a part.
    "row_security": "off",
    # Compiling costs more than it gains for aggregates this plain.
    "jit": "off",
    # Reading takes as long as it takes; the caller can cancel.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_SINCE_17 = {"transaction_timeout": "0"}


def pin(connection: Connection, *, local: bool) -> None:
    """Set them for the session, or (`local`) until the transaction ends."""
    settings = dict(SETTINGS)
    if connection.info.server_version >= 170000:
        settings |= _SINCE_17
    connection.execute(
        "SELECT pg_catalog.set_config(key, value, %s) FROM pg_catalog.json_each_text(%s)",
        [local, Json(settings)],
    )


@contextmanager
def pinned(connection: Connection) -> Iterator[None]:
    """Run a block that only reads in a transaction, or a savepoint, under these settings.

    It is rolled back at the end: only so do the caller's own settings come back in a savepoint.
    """
    with connection.transaction(force_rollback=True):
        pin(connection, local=True)
        yield
