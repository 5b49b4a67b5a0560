"""By a login of fewer rights a check tells that it can't see what it judges, and never "well".

Each planted fault is looked at by such logins where it is planted (planting.py). Here every check
is, whether it has a planted fault or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from crm.security_checks import stale_staff
from ops.health.checks.bloat import bloated_indexes, bloated_tables
from ops.health.checks.definitions import invalid_indexes
from ops.health.checks.replication import standby
from ops.health.checks.rows import orphans
from ops.health.checks.sequences import sequences
from ops.health.checks.storage import disks
from ops.health.checks.vacuum import never_analyzed
from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import SELF, run_checks
from ops.health.selection import all_checks
from ops.models import CheckState, Severity
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from tests.harness import database
from tests.ops.health.conftest import Patient
from tests.ops.health.perspectives import (
    HELD,
    NO_SETTINGS,
    NO_STATEMENTS,
    NO_STATISTICS,
    STRANGER,
    Perspective,
    seen_by,
)
from tests.ops.health.stepping import take

CHECKS = all_checks()
BLIND = f"{SELF}blind"
ITSELF = "signs in by itself, as each login that it judges"
CATALOGUE = "reads the catalogue, which the server shows to everybody"
COUNTERS = "reads counters and settings that the server shows to everybody"
FILES = "reads settings of this machine, and nothing of the server"
# Checks that a login sees enough for which may nothing but enter the database, and why.
SEEN_BY_EVERYBODY = {
    **dict.fromkeys(["reachable", "writable", "tls", "connection_pooler"], ITSELF),
    **dict.fromkeys(["settings_secrets", "deployment", "api_keys", "off_site_copy"], FILES),
    **dict.fromkeys(
        [
            "schema_drift", "invalid_constraints", "invalid_indexes", "disabled_triggers",
            "unlogged_tables", "prepared_transactions", "collation_versions",
            "missing_primary_keys", "unsupported_types", "application_login", "session_settings",
            "row_security", "unprotected_tables", "open_policies", "views_past_policies",
            "unprotected_copies", "definer_functions", "parameter_rights", "system_functions",
            "untrusted_functions", "undeclared_rights", "public_rights", "sensitive_columns",
            "function_search_paths", "missing_policies", "overlapping_policies",
            "policies_per_row", "policies_without_index", "extensions_within_reach",
            "extension_versions", "powerful_roles", "role_attributes", "expiring_passwords",
            "unindexed_references", "duplicate_indexes", "restore_rights",
        ],
        CATALOGUE,
    ),
    **dict.fromkeys(
        [
            "latency", "version", "clock_skew", "checksum_failures", "server_settings",
            "deadlocks", "cache_hit", "temporary_files", "forced_checkpoints", "missing_indexes",
            "unused_indexes", "hot_updates", "behind_autovacuum", "autovacuum_off", "wraparound",
            "replication_slots", "wal_receiver",
        ],
        COUNTERS,
    ),
    "bloated_tables": "no table here is large enough to be judged; hidden ones are told below",
    "bloated_indexes": "no index here is large enough to be judged; hidden ones are told below",
    "never_analyzed": "tables that nobody vacuumed have none; hidden ones are told below",
    "replication_lag": "no standby is here; where one is, pg_monitor is asked for first",
    "standby": "this is no standby; on one, a setting that is hidden is told, as below",
    "password_storage": "verifiers are secrets: a login that may read them is the greater risk",
}  # fmt: skip
# Which need more than the owner's rights on tables.
NEED_MORE = {
    NO_STATISTICS: {
        "connections", "idle_in_transaction", "pool", "blocked", "long_running",
        "slow_statements", "index_suggestions", "disks", "wal_kept",
    },
    NO_SETTINGS: {"disks", "wal_kept"},
    NO_STATEMENTS: {"slow_statements", "index_suggestions"},
    HELD: {"orphans", "invariants_hold", "sequences", "stuck_imports", "stale_staff",
           "missing_second_factors"},
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(django_test_environment: None, django_db_blocker: Any) -> Iterator[Patient]:
    """Return a database without faults, for all tests here that change nothing."""
    with (
        django_db_blocker.unblock(),
        database.clone(f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_blindness") as name,
        database.pointed_at(name),
    ):
        yield Patient(name)


@pytest.fixture(autouse=True)
def of_production(settings: Any) -> None:
    """Let no check be left out because nobody real is served."""
    settings.PRODUCTION_LIKE = settings.REQUIRE_TWO_FACTOR = True


def blind(patient: Patient, perspective: Perspective, *checks: Check) -> set[str]:
    """The checks that tell that they don't see everything."""
    states = {check.name: seen_by(perspective, patient, check).state for check in checks}
    assert CheckState.FAILED not in states.values(), states
    return {name for name, state in states.items() if state == CheckState.BLIND}


def test_a_login_that_may_only_enter_sees_what_everybody_may(sound: Patient) -> None:
    found = blind(sound, STRANGER, *CHECKS)
    assert {check.name for check in CHECKS} - found == set(SEEN_BY_EVERYBODY)


@pytest.mark.parametrize("perspective", NEED_MORE, ids=lambda each: str(each.name))
def test_what_the_owner_can_t_see_without_a_right_is_told(
    sound: Patient, perspective: Perspective
) -> None:
    # What a login may only enter sees, the owner sees.
    some = [check for check in CHECKS if check.name not in SEEN_BY_EVERYBODY]
    by_everything = {"trusted_connections"}  # whose rights nobody gives by itself
    assert blind(sound, perspective, *some) - by_everything == NEED_MORE[perspective]


def test_row_security_that_holds_the_owner_is_told_with_what_ends_it(sound: Patient) -> None:
    for check in (orphans, sequences):
        found = {each.key: each for each in seen_by(HELD, sound, check).reported}
        assert found[BLIND].next_step.splitlines()[1:] == ["ALTER ROLE srvc_owner BYPASSRLS;"]


def test_the_web_process_s_login_is_never_to_see_past_row_security(sound: Patient) -> None:
    for check in (orphans, stale_staff):
        context = Context(Endpoint.of("default"), timezone.now())
        try:
            (outcome,) = run_checks([check], context, {}, Counter())
        finally:
            context.close()
        assert outcome.state == CheckState.BLIND
        assert "BYPASSRLS" not in outcome.reported[-1].next_step


ANOTHERS = (
    "CREATE SCHEMA hidden",
    "CREATE TABLE hidden.parent (id int PRIMARY KEY)",
    (
        "CREATE TABLE hidden.child (id int PRIMARY KEY, told text,"
        " parent int CONSTRAINT to_parent REFERENCES hidden.parent) WITH (autovacuum_enabled = off)"
    ),
    "SET session_replication_role = replica",
    "INSERT INTO hidden.child SELECT n, repeat('x', 100), 1 FROM generate_series(1, 30000) n",
    "SET session_replication_role = origin",
    "DELETE FROM hidden.child WHERE id % 20 > 0",
    "CREATE SEQUENCE hidden.soon AS int OWNED BY hidden.child.id",
    "SELECT setval('hidden.soon', 5)",
)
SMALL = {"table_bloat_bytes": 1_000_000, "index_bloat_bytes": 200_000}


@pytest.mark.parametrize(
    ("check", "ready", "key"),
    [
        (orphans, "ANALYZE hidden.child", "hidden.child.to_parent"),
        (sequences, "ANALYZE hidden.child", "hidden.soon hidden.child.id"),
        (bloated_tables, "VACUUM (ANALYZE) hidden.child", "hidden.child"),
        (bloated_indexes, "VACUUM (ANALYZE) hidden.child", "hidden.child_pkey"),
    ],
    ids=lambda value: str(value.name) if isinstance(value, Check) else "",
)
def test_tables_of_another_are_told_unseen_until_they_are_shown(
    patient: Patient, check: Check, ready: str, key: str
) -> None:
    """As the owner, in a schema that it may not use: what is told as the way to see, shows it."""
    patient.execute(*ANOTHERS, ready)
    outcome = patient.run(check, deep=True, **SMALL)
    assert outcome.state == CheckState.BLIND
    unseen = {each.key: each for each in outcome.reported}
    assert key not in unseen
    take(patient, unseen[BLIND].next_step)
    assert key in patient.found(check, deep=True, **SMALL)


def test_whether_another_s_table_has_statistics_is_told_unseen(patient: Patient) -> None:
    # Vacuumed, and the server has forgotten whether somebody analyzed it, as after a crash.
    patient.execute(*ANOTHERS, "VACUUM (ANALYZE) hidden.child", "SELECT pg_stat_reset()")
    patient.execute("UPDATE hidden.child SET told = 'y'", "SELECT pg_stat_force_next_flush()")
    patient.execute("INSERT INTO hidden.child SELECT n, '', NULL FROM generate_series(-3000, 0) n",
                    "SELECT pg_stat_force_next_flush()")  # fmt: skip
    outcome = patient.run(never_analyzed, vacuum_patience_seconds=0)
    assert [each.key for each in outcome.reported] == [BLIND]
    take(patient, outcome.reported[0].next_step)
    assert patient.found(never_analyzed, vacuum_patience_seconds=0) == {}


@contextmanager
def building(patient: Patient) -> Iterator[None]:
    """A session that builds an index without locking, and waits for a transaction."""
    patient.execute("CREATE TABLE public.built (n int)")
    with (
        closing(database.connect(patient.name)) as holder,
        closing(database.connect(patient.name)) as builder,
    ):
        holder.execute("BEGIN")
        holder.execute("INSERT INTO public.built VALUES (1)")
        builder.pgconn.send_query(b"CREATE INDEX CONCURRENTLY built_n ON public.built (n)")
        builder.pgconn.flush()
        while not patient.execute("SELECT 1 FROM pg_class WHERE relname = 'built_n'"):
            pass
        try:
            yield
        finally:
            holder.execute("COMMIT")
            while builder.pgconn.get_result() is not None:
                pass


def test_an_index_that_another_builds_is_no_failed_one(patient: Patient) -> None:
    with building(patient):
        assert patient.found(invalid_indexes) == {}
        found = seen_by(NO_STATISTICS, patient, invalid_indexes)
        assert [each.key for each in found.reported] == [BLIND]
    assert patient.found(invalid_indexes) == {}


def test_a_setting_that_the_server_hides_is_not_taken_for_empty(sound: Patient) -> None:
    def look(context: Context) -> list[Reported]:
        return [Reported("", Severity.INFO, f"It is {context.setting('primary_conninfo')!r}")]

    check = replace(standby, look=look)
    assert seen_by(NO_STATEMENTS, sound, check).state == CheckState.FOUND
    assert seen_by(NO_SETTINGS, sound, check).state == CheckState.BLIND


def test_the_disk_of_a_server_here_is_told_unseen(sound: Patient) -> None:
    assert seen_by(NO_SETTINGS, sound, disks).state == CheckState.BLIND
