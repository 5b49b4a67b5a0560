"""Statements that take long, from what they cost within the last day; and what would help them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg import sql

from ops.health.blocking import shortened
from ops.health.context import Context
from ops.health.contract import Reported, check
from ops.health.statements import LONGEST, require_statements
from ops.health.suggestions import Suggestion, suggestions
from ops.models import Area, Severity
from ops.postgres.errors import one_line

# What is done on purpose now and then (COPY, CREATE INDEX, VACUUM) takes as long as it takes.
_WORK = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*[(\s]*(?:select|insert|update|delete|merge|with|values)\b",
    re.IGNORECASE | re.DOTALL,
)
_MOST = 50
# So many of the slowest are asked for their plans.
_PLANNED = 10


@dataclass(frozen=True)
class Slow:
    """A statement of one role, and what it cost within the last day."""

    query_id: str
    role: str
    text: str
    calls: int
    milliseconds: float
    rows: int
    blocks_read: int

    @property
    def average(self) -> float:
        """Milliseconds for each call."""
        return self.milliseconds / self.calls

    @property
    def is_whole(self) -> bool:
        """Whether its text was not cut off."""
        return len(self.text) < LONGEST


@check(Area.PERFORMANCE, "Slow statements")
def slow_statements(context: Context) -> Iterable[Reported]:
    """What takes long and is asked often is what users wait for.

    Counted by the server (pg_stat_statements) and kept as differences, so that it is of the last
    day, not of all time.
    """
    limits = context.limits
    explain = "EXPLAIN (GENERIC_PLAN) " if context.facts.major >= 16 else ""
    for each in _slow(context):
        yield Reported(
            f"{each.role}.{each.query_id}",
            Severity.WARNING,
            f"A statement of {each.role} takes {each.average:,.0f} ms on average",
            f"{each.calls:,} calls within the last day took {each.milliseconds / 1000:,.0f} s, "
            f"returned {each.rows:,} rows and read {each.blocks_read:,} blocks from elsewhere than "
            f"memory (slow is {limits.slow_query_milliseconds:g} ms or more).\n"
            f"{shortened(each.text, 2000)}",
            f"{explain}{each.text.rstrip(' ;')};"
            if explain and each.is_whole
            else "manage.py inspect --report outliers",
            f"statement {each.query_id}",
        )


@check(Area.PERFORMANCE, "Indexes that slow statements would gain by", limit=2.0)
def index_suggestions(context: Context) -> Iterable[Reported]:
    """A statement that reads a large table to find a few rows is mended by one index, mostly.

    Only slow statements are looked at: each index costs time on every write.
    """
    found: dict[str, tuple[Suggestion, list[Slow]]] = {}
    for each in [each for each in _slow(context) if each.is_whole][:_PLANNED]:
        for suggested in _suggested(context, each):
            found.setdefault(suggested.create, (suggested, []))[1].append(each)
    for create, (suggested, statements) in found.items():
        title = f"{suggested.schema}.{suggested.table}"
        columns = ", ".join(suggested.columns)
        first = statements[0]
        more = f" and {len(statements) - 1} more" if len(statements) > 1 else ""
        yield Reported(
            f"{title} ({columns})",
            Severity.WARNING,
            f"An index on {columns} of {title} would spare slow statements much",
            f"A statement of {first.role}{more} takes {first.average:,.0f} ms on average, "
            f"{first.calls:,} times within the last day. {suggested.reason}\n"
            f"{shortened(first.text, 1000)}",
            create,
            f"table {title}",
        )


def _slow(context: Context) -> list[Slow]:
    """The slow statements of the last day, those that took the most time first."""
    require_statements(context.connection)
    context.require_statistics("What statements of other roles cost")
    limits = context.limits
    rows = context.rows(
        _SLOW,
        [
            context.now - timedelta(days=1),
            limits.slow_query_calls,
            limits.slow_query_milliseconds,
        ],
    )
    found = (Slow(*row) for row in rows)
    return [each for each in found if _WORK.match(each.text)][:_MOST]


def _suggested(context: Context, slow: Slow) -> list[Suggestion]:
    """What would help, as the statement's own role sees the tables: with its policies."""
    connection = context.connection
    catalogue = context.catalogue  # read before the role is taken
    least = context.limits.missing_index_rows
    try:
        with connection.transaction(force_rollback=True):
            may = "SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s"
            if context.rows(may, [slow.role]) == [(True,)]:
                connection.execute(
                    sql.SQL("SET LOCAL ROLE {}; SET LOCAL row_security = on").format(
                        sql.Identifier(slow.role)
                    )
                )
            return suggestions(connection, slow.text, catalogue, least)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        raise  # not seen, which is not the same as nothing to suggest
    except psycopg.errors.InsufficientPrivilege as error:
        context.blind(
            f"What would help a statement of {slow.role} can't be seen by {context.facts.role}, "
            f"which may not plan it ({one_line(error)})."
        )
        return []
    except psycopg.Error:
        # A table that is gone, a type that nobody can guess: no plan, no suggestion.
        return []


_SLOW = """
    SELECT s.query_id, s.role, s.text, sum(x.calls)::bigint, sum(x.milliseconds),
        sum(x.rows)::bigint, sum(x.blocks_read)::bigint
    FROM ops_statementsample x JOIN ops_statement s ON s.id = x.statement_id
    WHERE x.taken_at > %s
    GROUP BY s.id HAVING sum(x.calls) >= %s AND sum(x.milliseconds) >= %s * sum(x.calls)
    ORDER BY sum(x.milliseconds) DESC LIMIT 200
"""
