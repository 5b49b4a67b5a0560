"""Checks of the area integrity: whether the data, and what keeps it right, is whole."""

from __future__ import annotations

from ops.health.checks.altered import altered_definitions, foreign_objects
from ops.health.checks.damage import checksum_failures, damaged_indexes
from ops.health.checks.definitions import (
    disabled_triggers,
    invalid_constraints,
    invalid_indexes,
    missing_primary_keys,
    unsupported_types,
)
from ops.health.checks.drift import schema_drift
from ops.health.checks.durability import (
    collation_versions,
    prepared_transactions,
    unlogged_tables,
)
from ops.health.checks.migrations import migrations
from ops.health.checks.rows import invariants_hold, orphans
from ops.health.checks.sequences import sequences
from ops.health.checks.server_settings import server_settings
from ops.health.contract import Check

CHECKS: tuple[Check, ...] = (
    orphans,
    invariants_hold,
    migrations,
    schema_drift,
    altered_definitions,
    foreign_objects,
    invalid_constraints,
    invalid_indexes,
    disabled_triggers,
    sequences,
    damaged_indexes,
    checksum_failures,
    server_settings,
    unlogged_tables,
    prepared_transactions,
    collation_versions,
    missing_primary_keys,
    unsupported_types,
)
