"""Checks of the area performance, from what happens now to what a table will need one day."""

from __future__ import annotations

from ops.health.checks.bloat import bloated_indexes, bloated_tables, hot_updates
from ops.health.checks.indexes import (
    duplicate_indexes,
    missing_indexes,
    unindexed_references,
    unused_indexes,
)
from ops.health.checks.sessions import blocked, long_running
from ops.health.checks.slow import index_suggestions, slow_statements
from ops.health.checks.vacuum import autovacuum_off, behind_autovacuum, never_analyzed, wraparound
from ops.health.checks.workload import cache_hit, deadlocks, forced_checkpoints, temporary_files
from ops.health.contract import Check

CHECKS: tuple[Check, ...] = (
    blocked,
    long_running,
    slow_statements,
    index_suggestions,
    deadlocks,
    cache_hit,
    temporary_files,
    forced_checkpoints,
    unindexed_references,
    missing_indexes,
    unused_indexes,
    duplicate_indexes,
    bloated_tables,
    bloated_indexes,
    hot_updates,
    never_analyzed,
    behind_autovacuum,
    autovacuum_off,
    wraparound,
)
