"""From where on something is worth a finding; settings.HEALTH_THRESHOLDS changes single ones.

Where a number is not ours, its source stands beside it: PgHero's defaults (ankane/pghero), or
PostgreSQL's own documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from django.conf import settings

from ops.readiness.value import LATE


@dataclass(frozen=True)
class Thresholds:
    """Every threshold, with its default. Sizes are in bytes, times in seconds unless they say."""

    # connection
    latency_milliseconds: float = 100.0  # a query that does nothing, on a server next door: < 1
    clock_skew_seconds: float = 5.0
    end_of_life_days: int = 180  # so long before a version's end it is told
    connections: int = 500  # PgHero
    connections_share: float = 0.8  # of max_connections
    idle_in_transaction: int = 100  # sessions; PgHero
    idle_in_transaction_seconds: float = 300.0
    # integrity
    sequence_share: float = 0.9  # of its column's type; PgHero
    amcheck_days: int = 30  # every index is looked at within so many days
    orphans_days: int = 7  # every reference is looked at within so many days
    prepared_seconds: float = 300.0  # that a transaction may stay prepared
    # security
    stale_staff_days: int = 180
    failed_sign_ins: int = 20
    failed_sign_ins_minutes: int = 60
    unused_key_days: int = 90
    superusers: int = 3  # that may sign in
    password_days: int = 14  # so long before a password's end it is told
    # performance
    slow_query_milliseconds: float = 20.0  # on average; PgHero
    slow_query_calls: int = 100  # within a day; PgHero
    long_running_seconds: float = 60.0  # PgHero
    blocked_seconds: float = 10.0
    cache_hit_share: float = 0.99  # PgHero
    cache_hit_blocks: int = 100_000  # below so many reads the share says nothing
    unused_index_bytes: int = 10_000_000  # PgHero
    unused_index_days: int = 14  # statistics younger than this say nothing about use
    # Of one that another begins with: Django itself makes small ones, which cost nothing.
    duplicate_index_bytes: int = 1_000_000
    index_bloat_bytes: int = 100_000_000  # PgHero
    index_bloat_share: float = 0.5  # a third of an index filled in random order is free anyway
    table_bloat_bytes: int = 100_000_000
    table_bloat_share: float = 0.5
    hollow_table_bytes: int = 20_000_000  # of a table that is nine tenths empty; as splinter
    missing_index_rows: int = 10_000  # below that reading the whole table is as quick
    wraparound_left: int = 1_500_000_000  # transactions; PgHero
    wraparound_critical: int = 500_000_000
    autovacuum_danger: int = 2_000_000  # transactions until it is forced; PgHero
    vacuum_overdue: float = 2.0  # times the rows at which autovacuum should have come
    vacuum_patience_seconds: float = 600.0  # after a mass change it comes in its own time
    temporary_bytes_per_day: int = 10_000_000_000
    hot_share: float = 0.5
    hot_updates: int = 100_000
    forced_checkpoints_share: float = 0.5
    # storage
    disk_free_share: float = 0.1
    disk_free_critical_share: float = 0.05
    disk_enough_bytes: int = 50_000_000_000  # with so much left the share says nothing
    days_until_full: float = 14.0
    growth_bytes: int = 1_000_000_000  # in a day: less is nobody's surprise
    growth_times: float = 5.0  # as much as on the median of the days before
    wal_kept_bytes: int = 10_000_000_000
    # backups and the schedule
    late: timedelta = LATE  # what a nightly schedule may be late by
    # replication
    replication_lag_seconds: float = 5.0  # PgHero
    replication_lag_bytes: int = 1_000_000_000
    slot_inactive_seconds: float = 300.0  # whoever reads from it may be restarting

    @classmethod
    def of_settings(cls) -> Thresholds:
        """Return the defaults with what settings.HEALTH_THRESHOLDS changes.

        Names that don't exist are told by a system check (ops.E110), and change nothing.
        """
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = settings.HEALTH_THRESHOLDS
        return replace(cls(), **{name: value for name, value in given.items() if name in known})
