"""What must be true of the data whatever happened to it: asked of every restored database.

An upper app tells its invariants through settings.INVARIANTS, a list of dotted paths to sequences
of them. Each is SQL alone, so that it can be asked of any database: live, beside, or of the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.utils.module_loading import import_string
from psycopg import sql

from ops.postgres.errors import one_line

Connection = psycopg.Connection[tuple[Any, ...]]
_EXAMPLES = 3


@dataclass(frozen=True)
class Invariant:
    """A sentence about the data, and the query of what contradicts it."""

    name: str  # invoice_totals
    sentence: str  # "Every invoice's total is what its lines add up to."
    # Yields one text for each contradiction ("invoice 12: 100.00 instead of 120.00"), as a login
    # that sees all rows. Its tables are schema-qualified.
    query: str
    tables: tuple[str, ...]  # it speaks of; where one of them is missing it is not asked
    # A health check that finds the same in the live database, and would tell it twice otherwise.
    live: str = ""


@dataclass(frozen=True)
class Outcome:
    """What asking came to."""

    invariant: Invariant
    contradictions: int = 0
    examples: tuple[str, ...] = ()
    skipped: str = ""  # why it was not asked

    @property
    def holds(self) -> bool:
        """Whether it was asked and nothing contradicts it."""
        return not self.skipped and not self.contradictions

    def __str__(self) -> str:
        if self.skipped:
            return f"Not asked: {self.invariant.sentence} {self.skipped}"
        if not self.contradictions:
            return self.invariant.sentence
        more = f", and {self.contradictions - len(self.examples):,} more"
        return (
            f"Not true: {self.invariant.sentence} {'; '.join(self.examples)}"
            f"{more if self.contradictions > len(self.examples) else ''}."
        )


def invariants() -> list[Invariant]:
    """Return what settings.INVARIANTS lists, in its order."""
    found: list[Invariant] = []
    for path in settings.INVARIANTS:
        some: Sequence[Invariant] = import_string(path)
        found += some
    return found


def check_invariants(connection: Connection) -> Iterator[Outcome]:
    """Ask each of a database, as a login that sees all rows.

    A query that fails contradicts too: data that can't be asked is not data one can trust.
    """
    for invariant in invariants():
        try:
            outcome = ask(connection, invariant)
        except psycopg.Error as error:
            outcome = Outcome(invariant, 1, (f"it can't be asked ({one_line(error)})",))
        yield outcome


def ask(connection: Connection, invariant: Invariant) -> Outcome:
    """Ask one of a database, as a login that sees all rows. Raises psycopg.Error when it can't."""
    for table in invariant.tables:
        row = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
        if row is None or row[0] is None:
            return Outcome(invariant, skipped=f"There is no table {table}.")
    with connection.transaction():
        rows = connection.execute(
            sql.SQL(
                "SELECT count(*) OVER (), found.what::text FROM ({}) AS found(what) LIMIT {}"
            ).format(sql.SQL(invariant.query), sql.Literal(_EXAMPLES))
        ).fetchall()
    if not rows:
        return Outcome(invariant)
    return Outcome(invariant, rows[0][0], tuple(str(what) for _, what in rows))
