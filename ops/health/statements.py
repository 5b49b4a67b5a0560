"""What statements cost over time: pg_stat_statements read again and again, and never reset.

The server counts from the moment it saw a statement first. A reading keeps those totals; what a
statement cost in between is the difference. A total that is lower than before, or whose counting
began later (`stats_since`, PostgreSQL 17), began anew: after a crash, a reset by somebody else, or
when the server had no room for the statement and forgot it. What it shows then is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.db import connections, transaction
from django.db.models import Max
from psycopg import sql

from ops.health.contract import BlindError
from ops.health.marking import MARK
from ops.health.steps import as_superuser
from ops.models import Statement, StatementSample
from ops.postgres.endpoint import Connection
from ops.runs import OWNER

EXTENSION = "pg_stat_statements"
# So many statements of a reading are kept, those that took the most time: the rest of thousands
# makes no difference to anybody, and the tables stay small.
MOST = 500
# Characters of a statement that are kept. Longer ones are machines' lists of values.
LONGEST = 20_000
# The same statement in another database is another one, with another text perhaps: names of result
# columns don't count for the server's id.
_HERE = sql.SQL("dbid = (SELECT oid FROM pg_database WHERE datname = current_database())")
# What else the server loads stays loaded. A list in quotes would be taken for one library's name.
_LOADING = f"""\
SELECT format('ALTER SYSTEM SET shared_preload_libraries = %s', concat_ws(', ',
    nullif(current_setting('shared_preload_libraries'), ''), '{EXTENSION}')) \\gexec
-- restart the server, then:"""
_LOCK = 7_221_005  # one reading at a time; any number nobody else uses


@dataclass(frozen=True)
class Counters:
    """The running totals of one statement by one role."""

    query_id: str
    role: str
    calls: int
    milliseconds: float
    rows: int
    blocks_hit: int
    blocks_read: int
    blocks_written_temporarily: int
    since: datetime | None  # when the server began to count; None: it does not say

    def less(self, before: dict[str, Any]) -> Counters:
        """Return what came since those totals, which were read earlier."""
        return Counters(
            self.query_id,
            self.role,
            self.calls - before["calls"],
            max(0.0, self.milliseconds - before["milliseconds"]),
            self.rows - before["rows"],
            self.blocks_hit - before["blocks_hit"],
            self.blocks_read - before["blocks_read"],
            self.blocks_written_temporarily - before["blocks_written_temporarily"],
            self.since,
        )

    def kept(self, now: datetime) -> dict[str, Any]:
        """Return the totals as a row keeps them."""
        return {
            "calls": self.calls,
            "milliseconds": self.milliseconds,
            "rows": self.rows,
            "blocks_hit": self.blocks_hit,
            "blocks_read": self.blocks_read,
            "blocks_written_temporarily": self.blocks_written_temporarily,
            "since": self.since.isoformat() if self.since else None,
            "read_at": now.isoformat(),
        }


@dataclass(frozen=True)
class _Read:
    """One statement of a reading."""

    now: Counters
    row: Statement | None  # as it was kept before
    cost: Counters | None  # since the reading before; None: nobody can tell
    since: datetime | None  # when the reading before was; always there with a cost


def read_statements(connection: Connection, now: datetime) -> int:
    """Keep what statements of this database cost since the reading before this one.

    Returns how many did. A statement that is seen for the first time has no cost yet, unless the
    server says that it began to count it since. Does nothing while another session is reading, and
    raises BlindError when the server keeps no such statistics.
    """
    schema = require_statements(connection)
    with transaction.atomic(using=OWNER):
        if not _is_alone():
            return 0
        known = {
            (row.query_id, row.role): row for row in Statement.objects.using(OWNER).defer("text")
        }
        last = Statement.objects.using(OWNER).aggregate(at=Max("last_seen"))["at"]
        if last is not None and last >= now:
            return 0
        told = (
            _compared(each, known.get((each.query_id, each.role)), last)
            for each in _counters(connection, schema)
        )
        chosen = _costliest(each for each in told if each is not None)
        return _keep(chosen, _texts(connection, schema, chosen), now)


def require_statements(connection: Connection) -> str:
    """Return the schema of the extension's views; raise BlindError when they tell nothing."""
    row = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = %s",
        [EXTENSION],
    ).fetchone()
    if row is None:
        raise BlindError(
            f"What statements cost is not counted: the extension {EXTENSION} is not in this "
            "database, and the server has to load its library at its start.",
            as_superuser(_creating(connection)),
        )
    schema = str(row[0])
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SELECT FROM {}.{}(false) LIMIT 1").format(
                    sql.Identifier(schema), sql.Identifier(EXTENSION)
                )
            )
    except psycopg.errors.ObjectNotInPrerequisiteState:
        raise BlindError(
            f"What statements cost is not counted: the server did not load {EXTENSION} at its "
            "start.",
            as_superuser(_LOADING.rpartition("\n")[0] + "\n-- restart the server"),
        ) from None
    if connection.execute("SHOW compute_query_id").fetchone() == ("off",):
        raise BlindError(
            "What statements cost is not counted: compute_query_id is off.",
            as_superuser("ALTER SYSTEM SET compute_query_id = auto;\nSELECT pg_reload_conf();"),
        )
    return schema


def _creating(connection: Connection) -> str:
    """SQL that makes the extension; the library is loaded first where it is not yet."""
    create = f"CREATE EXTENSION {EXTENSION};"
    row = connection.execute(
        "SELECT current_setting(%s, true) IS NULL", [f"{EXTENSION}.max"]
    ).fetchone()
    return f"{_LOADING}\n{create}" if row == (True,) else create


def _is_alone() -> bool:
    # Two readings at once would each count what came since, and it would be counted twice.
    with connections[OWNER].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        row = cursor.fetchone()
    return bool(row and row[0])


def _counters(connection: Connection, schema: str) -> list[Counters]:
    """The totals of every statement of this database that clients sent themselves."""
    major = connection.info.server_version // 10_000
    # A statement inside a function is part of what the function's caller waited for.
    query = sql.SQL(
        "SELECT s.queryid::text, pg_get_userbyid(s.userid)::text, sum(s.calls)::bigint,"
        " sum(s.total_exec_time), sum(s.rows)::bigint, sum(s.shared_blks_hit)::bigint,"
        " sum(s.shared_blks_read)::bigint, sum(s.temp_blks_written)::bigint{since}"
        " FROM {view}(false) s"
        " WHERE {here} AND s.toplevel AND s.queryid IS NOT NULL GROUP BY 1, 2"
    ).format(
        here=_HERE,
        since=sql.SQL(", min(s.stats_since)" if major >= 17 else ""),
        view=sql.Identifier(schema, EXTENSION),
    )
    if major < 17:
        query = sql.SQL(
            "SELECT c.q, c.r, c.c, c.t, c.n, c.h, c.d, c.w, i.stats_reset"
            " FROM ({}) c(q, r, c, t, n, h, d, w), {} i"
        ).format(query, sql.Identifier(schema, f"{EXTENSION}_info"))
    return [Counters(*row) for row in connection.execute(query)]


def _compared(each: Counters, row: Statement | None, last: datetime | None) -> _Read | None:
    """What a statement cost since it was read last; None when it did not run since."""
    if row is None:
        # Before 17 `since` is when all statements were reset, which says the same of each of them.
        began = each.since is not None and last is not None and each.since >= last
        return _Read(each, None, each if began else None, last)
    read_at = datetime.fromisoformat(row.counters["read_at"])
    began_then = row.counters["since"]
    if each.since and began_then and each.since != datetime.fromisoformat(began_then):
        # Counting began anew since; or this is another server, which had counted before.
        return _Read(each, row, each if each.since >= read_at else None, read_at)
    if each.calls < row.counters["calls"]:
        return _Read(each, row, each, read_at)
    cost = each.less(row.counters)
    return _Read(each, row, cost, read_at) if cost.calls else None


def _costliest(found: Iterable[_Read]) -> list[_Read]:
    def cost(each: _Read) -> float:
        return (each.cost or each.now).milliseconds

    return sorted(found, key=cost, reverse=True)[:MOST]


def _texts(connection: Connection, schema: str, chosen: Sequence[_Read]) -> dict[str, str]:
    """The texts of statements that are not known yet: the server keeps them in a file."""
    unknown = [int(each.now.query_id) for each in chosen if each.row is None]
    if not unknown:
        return {}
    query = sql.SQL(
        "SELECT queryid::text, min(left(query, %s)) FROM {}(true)"
        " WHERE queryid = ANY(%s) AND strpos(query, %s) = 0 AND {} GROUP BY 1"
    ).format(sql.Identifier(schema, EXTENSION), _HERE)
    return dict(connection.execute(query, [LONGEST, unknown, MARK]).fetchall())


def _keep(chosen: Sequence[_Read], texts: dict[str, str], now: datetime) -> int:
    rows, new, samples = [], [], []
    for each in chosen:
        row = each.row
        if row is None:
            text = texts.get(each.now.query_id)
            if text is None:
                continue  # a check's own, or the server has lost its text
            row = Statement(
                query_id=each.now.query_id, role=each.now.role, text=text, first_seen=now
            )
            new.append(row)
        else:
            rows.append(row)
        row.last_seen = now
        row.counters = each.now.kept(now)
        if each.cost is not None and each.since is not None:
            samples.append(_sample(row, each.cost, each.since, now))
    Statement.objects.using(OWNER).bulk_create(new, batch_size=200)
    Statement.objects.using(OWNER).bulk_update(rows, ["last_seen", "counters"], batch_size=200)
    StatementSample.objects.using(OWNER).bulk_create(samples, batch_size=200)
    return len(samples)


def _sample(row: Statement, cost: Counters, since: datetime, now: datetime) -> StatementSample:
    return StatementSample(
        statement=row,
        since=since,
        taken_at=now,
        calls=cost.calls,
        milliseconds=cost.milliseconds,
        rows=cost.rows,
        blocks_hit=cost.blocks_hit,
        blocks_read=cost.blocks_read,
        blocks_written_temporarily=cost.blocks_written_temporarily,
    )
