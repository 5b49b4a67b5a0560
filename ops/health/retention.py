"""What health remembers stays bounded: findings, numbers over time, costs of statements, runs.

Numbers are kept as they were taken for two days, one for each hour for a month, and one for each
day as long as findings that are gone (settings.HEALTH_KEEP_DAYS). A day at a time, so that no
statement holds many rows; doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connections, transaction

from ops.models import Run, RunKind
from ops.models.runs import ENDED
from ops.runs import OWNER

WHOLE = timedelta(days=2)
HOURLY = timedelta(days=30)
RUNS = timedelta(days=30)
STATEMENTS = timedelta(days=90)  # … that nobody asked since
_DAY = timedelta(days=1)
_BATCH = 5_000


def prune(now: datetime) -> None:
    """Remove and thin what is older than it is kept."""
    limit = now - timedelta(days=settings.HEALTH_KEEP_DAYS)
    _prune_findings(limit)
    for table, merge in (("ops_sample", _SAMPLES), ("ops_statementsample", _COSTS)):
        for bucket, begin, end in _stretches(table, now, limit):
            _execute(merge, {"bucket": bucket, "begin": begin, "end": end})
        _in_batches(_OLD.format(table=table), {"limit": limit})
    _in_batches(_OLD_STATEMENTS, {"limit": now - STATEMENTS})
    ended = Run.objects.using(OWNER).filter(kind=RunKind.HEALTH, status__in=ENDED)
    ended.filter(asked_at__lt=now - RUNS).delete()


def _prune_findings(limit: datetime) -> None:
    _in_batches(_OLD_FINDINGS, {"limit": limit})
    _in_batches(_OLD_EVENTS, {"limit": limit})


def _stretches(
    table: str, now: datetime, limit: datetime
) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield each day whose numbers are to be one for each hour, or one for the day."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    oldest = _execute(f"SELECT min(taken_at) FROM {table}", {})[0][0]  # noqa: S608 (ours)
    if oldest is None:
        return
    # Whole days alone: what is one already is not taken apart again.
    day = max(oldest, limit).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < today - WHOLE:
        yield ("day" if day < today - HOURLY else "hour"), day, day + _DAY
        day += _DAY


def _in_batches(statement: str, values: dict[str, Any]) -> None:
    """Run a statement that deletes so many rows at most until it finds none."""
    while _execute(statement, {**values, "batch": _BATCH})[0][0]:
        pass


def _execute(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with transaction.atomic(using=OWNER), connections[OWNER].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


# Each returns how many rows it found. References are checked at the end of the transaction.
_OLD_FINDINGS = """
    WITH old AS (
        SELECT id FROM ops_finding WHERE resolved_at < %(limit)s LIMIT %(batch)s FOR UPDATE
    ), events AS (
        SELECT id FROM ops_findingevent WHERE finding_id IN (SELECT id FROM old)
    ), notices AS (
        DELETE FROM ops_notice WHERE event_id IN (SELECT id FROM events)
    ), history AS (
        DELETE FROM ops_findingevent WHERE id IN (SELECT id FROM events)
    ), findings AS (
        DELETE FROM ops_finding WHERE id IN (SELECT id FROM old)
    )
    SELECT count(*) FROM old
"""
# How what is open still began stays, however long ago that was.
_OLD_EVENTS = """
    WITH old AS (
        SELECT e.id FROM ops_findingevent e JOIN ops_finding f ON f.id = e.finding_id
        WHERE e.at < %(limit)s AND NOT (f.resolved_at IS NULL AND e.at = f.opened_at
            AND e.kind IN ('opened', 'reopened'))
        LIMIT %(batch)s
    ), notices AS (
        DELETE FROM ops_notice WHERE event_id IN (SELECT id FROM old)
    ), history AS (
        DELETE FROM ops_findingevent WHERE id IN (SELECT id FROM old)
    )
    SELECT count(*) FROM old
"""
_OLD = """
    WITH old AS (
        DELETE FROM {table} WHERE ctid IN (
            SELECT ctid FROM {table} WHERE taken_at < %(limit)s LIMIT %(batch)s)
        RETURNING 1
    )
    SELECT count(*) FROM old
"""
_OLD_STATEMENTS = """
    WITH old AS (
        SELECT id FROM ops_statement WHERE last_seen < %(limit)s LIMIT %(batch)s
    ), costs AS (
        DELETE FROM ops_statementsample WHERE statement_id IN (SELECT id FROM old)
    ), statements AS (
        DELETE FROM ops_statement WHERE id IN (SELECT id FROM old)
    )
    SELECT count(*) FROM old
"""
# Of several numbers in a bucket one stays: what came in between is added up, what is a level of the
# moment is averaged, and of what grows or is a size the last one counts.
_SAMPLES = """
    WITH several AS (
        SELECT metric, subject, date_trunc(%(bucket)s, taken_at, 'UTC') AS bucket
        FROM ops_sample WHERE taken_at >= %(begin)s AND taken_at < %(end)s
        GROUP BY 1, 2, 3 HAVING count(*) > 1
    ), gone AS (
        DELETE FROM ops_sample s USING several v
        WHERE s.taken_at >= %(begin)s AND s.taken_at < %(end)s AND s.metric = v.metric
          AND s.subject = v.subject AND date_trunc(%(bucket)s, s.taken_at, 'UTC') = v.bucket
        RETURNING s.metric, s.subject, v.bucket, s.taken_at, s.value
    )
    INSERT INTO ops_sample (metric, subject, taken_at, value)
    SELECT metric, subject, max(taken_at), CASE
        WHEN metric IN ('deadlocks', 'temporary_bytes') THEN sum(value)
        WHEN metric IN ('connections', 'cache_hit_ratio', 'transactions_per_second')
            THEN avg(value)
        ELSE (array_agg(value ORDER BY taken_at DESC))[1] END
    FROM gone GROUP BY metric, subject, bucket
"""
_COSTS = """
    WITH several AS (
        SELECT statement_id, date_trunc(%(bucket)s, taken_at, 'UTC') AS bucket
        FROM ops_statementsample WHERE taken_at >= %(begin)s AND taken_at < %(end)s
        GROUP BY 1, 2 HAVING count(*) > 1
    ), gone AS (
        DELETE FROM ops_statementsample s USING several v
        WHERE s.taken_at >= %(begin)s AND s.taken_at < %(end)s
          AND s.statement_id = v.statement_id
          AND date_trunc(%(bucket)s, s.taken_at, 'UTC') = v.bucket
        RETURNING s.*, v.bucket
    )
    INSERT INTO ops_statementsample (statement_id, since, taken_at, calls, milliseconds, rows,
        blocks_hit, blocks_read, blocks_written_temporarily)
    SELECT statement_id, min(since), max(taken_at), sum(calls), sum(milliseconds), sum(rows),
        sum(blocks_hit), sum(blocks_read), sum(blocks_written_temporarily)
    FROM gone GROUP BY statement_id, bucket
"""
