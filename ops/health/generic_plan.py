"""How the server would go about a statement whose values are not known: EXPLAIN (GENERIC_PLAN).

Asked within a request, by the request's own role, in a savepoint that only reads and is rolled
back. Nothing of the statement is executed, and only text that the server itself recorded as one
statement is handed to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from django.db import DatabaseError, connection, transaction

from ops.health.statements import LONGEST

_SECONDS = 3
_FIRST = 160_000  # the first version that has GENERIC_PLAN
_BEGINNING = re.compile(
    r"\A(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|TABLE)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class GenericPlan:
    """A plan, or why there is none."""

    lines: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def text(self) -> str:
        """The plan as EXPLAIN prints it."""
        return "\n".join(self.lines)


class _Undone(Exception):  # noqa: N818 (no error: it ends the savepoint)
    pass


def generic_plan(text: str) -> GenericPlan:
    """Return a recorded statement's plan as the current role gets it; never raises for the text."""
    if not _BEGINNING.match(text):
        return GenericPlan(why_not="It is a command of the server's, which has no plan.")
    if len(text) >= LONGEST:
        return GenericPlan(why_not="Its text is too long to have been kept whole.")
    if ";" in text:
        # One statement has none but inside of a string; then nobody has to tell the two apart.
        return GenericPlan(why_not="It has a semicolon in it, and is not handed to the server.")
    connection.ensure_connection()
    if connection.connection.info.server_version < _FIRST:
        return GenericPlan(why_not="Plans without values need PostgreSQL 16 or later.")
    lines: list[str] = []
    try:
        with transaction.atomic():
            lines += _explained(text)
            # The settings of the savepoint go with it.
            raise _Undone
    except _Undone:
        return GenericPlan(tuple(lines))
    except DatabaseError as error:
        return GenericPlan(why_not=_why(error))


def _explained(text: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '{_SECONDS}s'")
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {text}")
        return [row[0] for row in cursor.fetchall()]


def _why(error: DatabaseError) -> str:
    cause = error.__cause__
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return "It reads tables that only the owner may read."
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return f"The server did not plan it within {_SECONDS} s."
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    return f"The server could not plan it without its values ({first})."
