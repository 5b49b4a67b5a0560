"""Taking samples: how large, how busy, how full, every few minutes, for as long as it lasts.

Counters that only ever grow are kept as they are (`…_total`), and what happened since the sample
before is told beside them. A server whose statistics were reset in between tells nothing of that
stretch, instead of nonsense.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from ops.health.catalogue import NOT_OURS
from ops.health.contract import BlindError
from ops.health.disk import disk_of, merged, places
from ops.models import Sample
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.runs import OWNER

log = logging.getLogger(__name__)

# Of tables and of indexes: the largest, and what changed noticeably.
_LARGEST = 200
_MOST = 1_000
_SHARE, _BYTES = 0.01, 1_000_000
_SIZES_EVERY = timedelta(hours=23, minutes=30)
_SUBJECT = 150  # characters the table has room for

# The server's running totals, and what is told of each stretch.
_TOTALS = (
    "transactions_total", "blocks_hit_total", "blocks_read_total", "deadlocks_total",
    "temporary_bytes_total", "statistics_reset_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """One number, before it is kept."""

    metric: str
    value: float
    subject: str = ""


def take_samples(connection: Connection, now: datetime) -> int:
    """Keep what can be measured now; return how many numbers that were.

    `connection` is the owner's login's, in autocommit mode. Sizes of tables and indexes are taken
    once a day. What the login may not see, and a disk that does not answer, is left out; a table
    that somebody locks is measured another day. Raises psycopg.Error when the server is gone, and
    Django's DatabaseError when nothing can be kept.
    """
    found = [
        *_of_the_server(connection),
        *_counters(connection, now),
        *_wal(connection),
        *_disks(connection),
    ]
    if _sizes_are_due(now):
        found += _sizes(connection, now)
    Sample.objects.using(OWNER).bulk_create(
        (
            Sample(metric=each.metric, subject=each.subject, taken_at=now, value=each.value)
            for each in found
        ),
        # Two watchers at the same moment say the same.
        ignore_conflicts=True,
    )
    return len(found)


def _of_the_server(connection: Connection) -> Iterator[Number]:
    with _briefly(connection):
        row = connection.execute(
            "SELECT pg_database_size(current_database()), (SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend'), current_setting('max_connections')::int"
        ).fetchone()
    assert row is not None
    yield Number("database_bytes", row[0])
    yield Number("connections", row[1])
    yield Number("connections_maximum", row[2])


def _counters(connection: Connection, now: datetime) -> Iterator[Number]:
    with _briefly(connection):
        row = connection.execute(
            "SELECT xact_commit + xact_rollback, blks_hit, blks_read, deadlocks, temp_bytes,"
            " coalesce(extract(epoch FROM stats_reset), 0)::float8"
            " FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    totals = dict(zip(_TOTALS, map(float, row), strict=True))
    yield from (Number(metric, value) for metric, value in totals.items())
    taken_at, before = _totals_before(now)
    seconds = (now - taken_at).total_seconds() if taken_at else 0.0
    if seconds <= 0 or set(before) != set(_TOTALS):
        return
    if before["statistics_reset_seconds"] != totals["statistics_reset_seconds"]:
        return
    since = {metric: totals[metric] - before[metric] for metric in _TOTALS}
    if min(since.values()) < 0:  # a crash resets them without a word
        return
    yield Number("transactions_per_second", since["transactions_total"] / seconds)
    yield Number("deadlocks", since["deadlocks_total"])
    yield Number("temporary_bytes", since["temporary_bytes_total"])
    if blocks := since["blocks_hit_total"] + since["blocks_read_total"]:
        yield Number("cache_hit_ratio", since["blocks_hit_total"] / blocks)


def _totals_before(now: datetime) -> tuple[datetime | None, dict[str, float]]:
    rows = Sample.objects.using(OWNER).filter(subject="", taken_at__lt=now)
    last = rows.filter(metric=_TOTALS[0]).order_by("-taken_at").first()
    if last is None:
        return None, {}
    same = rows.filter(metric__in=_TOTALS, taken_at=last.taken_at)
    return last.taken_at, dict(same.values_list("metric", "value"))


def _wal(connection: Connection) -> Iterator[Number]:
    try:
        with _briefly(connection):
            row = connection.execute("SELECT sum(size) FROM pg_ls_waldir()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return
    if row and row[0] is not None:
        yield Number("wal_bytes", row[0])


def _disks(connection: Connection) -> Iterator[Number]:
    disks = []
    with _briefly(connection):
        found = list(places(connection))
    for place in found:
        try:
            if disk := disk_of(place):
                disks.append(disk)
        except BlindError as error:
            log.warning("%s", error)
    for disk in merged(disks):
        subject = disk.path[-_SUBJECT:]
        yield Number("disk_free_bytes", disk.free, subject)
        yield Number("disk_total_bytes", disk.total, subject)


def _sizes_are_due(now: datetime) -> bool:
    recent = Sample.objects.using(OWNER).filter(
        metric="table_bytes", taken_at__gt=now - _SIZES_EVERY
    )
    return not recent.exists()


def _sizes(connection: Connection, now: datetime) -> list[Number]:
    try:
        with _briefly(connection):
            rows = connection.execute(_SIZES).fetchall()
    except psycopg.errors.OperationalError as error:  # a lock or the time limit came in between
        if connection.broken:
            raise
        log.warning("sizes were not taken: %s", one_line(error))
        return []
    found = [Number(metric, size, title[:_SUBJECT]) for metric, title, size in rows]
    return [
        each
        for metric in ("table_bytes", "index_bytes")
        for each in _worth_keeping([one for one in found if one.metric == metric], metric, now)
    ]


def _worth_keeping(largest_first: list[Number], metric: str, now: datetime) -> Iterable[Number]:
    """The largest, so that their series have no holes, and what is not as it was last kept."""
    kept = (
        Sample.objects.using(OWNER)
        .filter(metric=metric, taken_at__lt=now)
        .order_by("subject", "-taken_at")
        .distinct("subject")
        .values_list("subject", "value")
    )
    before = dict(kept)

    def changed(number: Number) -> bool:
        by = abs(number.value - before.get(number.subject, 0.0))
        return by > _BYTES and by > _SHARE * number.value

    largest, others = largest_first[:_LARGEST], largest_first[_LARGEST:]
    return [*largest, *filter(changed, others)][:_MOST]


@contextmanager
def _briefly(connection: Connection) -> Iterator[None]:
    """Run queries that hold nobody up, and that nobody holds up for long."""
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '1s'")
        yield


# Measuring a table waits for whoever has it locked, so those are left out.
_SIZES = f"""
    WITH locked AS (
        SELECT l.relation FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.mode = 'AccessExclusiveLock' AND d.datname = current_database()
    ), measured AS (
        SELECT CASE c.relkind WHEN 'i' THEN 'index_bytes' ELSE 'table_bytes' END AS metric,
            format('%s.%s', n.nspname, c.relname) AS title,
            CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END
                AS size
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'i') AND c.relpersistence <> 't' AND {NOT_OURS}
          AND c.oid NOT IN (SELECT relation FROM locked WHERE relation IS NOT NULL)
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid
              AND i.indrelid IN (SELECT relation FROM locked))
    )
    SELECT metric, title, size FROM measured WHERE size > 0 ORDER BY size DESC, title
"""  # noqa: S608 (constants)
