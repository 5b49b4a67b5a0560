"""Every check has a planted fault whose next step is taken, or a reason why not."""

from __future__ import annotations

from ops.health.selection import all_checks
from tests.ops.health.planted import OF_A_DATABASE, OF_A_SERVER, planted
from tests.ops.health.planted.fault import ByAPerson

FAULTS = planted(*OF_A_DATABASE, *OF_A_SERVER)
LOOKS = "shows what is wrong and changes nothing: "
# Checks without a fault in the list, because it is costly to plant, or is none of the database's.
NOT_IN_THE_LIST = {
    "latency": f"{LOOKS}manage.py dbping",
    "tls": "the server gets a certificate, and the address sslmode: nothing a statement can do",
    "version": "another version of PostgreSQL is installed, after a full backup",
    "clock_skew": "sets the clock of the machine",
    "idle_in_transaction": "taken in test_connection_checks: ends the session it names",
    "connection_pooler": f"{LOOKS}the pooler's file is changed by hand; see tests/poolers",
    "pool": f"{LOOKS}taken in test_connection_checks",
    "invariants_hold": f"{LOOKS}which figure is right a person has to decide",
    "damaged_indexes": "taken in test_integrity_damage, on files that are damaged",
    "checksum_failures": "a disk that loses data is replaced, after a base backup",
    "trusted_connections": "a line of a file of the server's is changed by hand",
    "settings_secrets": "an environment's file is changed by hand",
    "deployment": f"{LOOKS}manage.py check --deploy",
    "api_keys": "taken in test_security_secrets",
    "blocked": "taken in test_performance_of_sessions: ends the statement it names",
    "long_running": "taken in test_performance_of_sessions: cancels the statement it names",
    "slow_statements": f"{LOOKS}manage.py explain, manage.py inspect",
    "index_suggestions": "taken in test_performance_of_statements",
    "deadlocks": f"{LOOKS}manage.py dblogs",
    "cache_hit": f"{LOOKS}manage.py inspect",
    "temporary_files": "needs 10 GB of sorts; the setting is made in test_performance_of_workload",
    "forced_checkpoints": "needs forced checkpoints; tested in test_performance_of_workload",
    "disks": "a larger disk is bought",
    "growth": f"{LOOKS}manage.py inspect",
    "backup_storage": f"{LOOKS}findmnt; a disk is mounted",
    "stored_objects": "taken in test_stored_objects, on files that are gone",
    "wal_archive": "takes a base backup, as the tests of tests/ops/backups do",
    "replication_lag": f"{LOOKS}a standby catches up by itself, or is made anew",
    "wal_receiver": "starts a program that runs for good, as tests/ops/backups does",
    "notices_undelivered": f"{LOOKS}manage.py watch --try-channels",
    "stuck_imports": "taken in tests/crm, where an import is left by a worker",
    "collation_versions": "taken in test_durability",
    "prepared_transactions": "taken in test_durability, on a server of its own",
    "restore_rights": f"{LOOKS}manage.py restore --latest --dry-run",
    "wal_contents": "a segment that is gone can't be made again: takes a base backup",
    "missing_second_factors": "taken in test_security_people, by several administrators",
}


def test_every_check_has_a_planted_fault_or_a_reason() -> None:
    in_the_list = {fault.check for fault in FAULTS}
    names = {check.name for check in all_checks()}
    assert in_the_list <= names
    assert names - in_the_list == set(NOT_IN_THE_LIST)
    assert all(NOT_IN_THE_LIST.values())


def test_a_step_that_is_not_taken_has_a_reason() -> None:
    assert [f.name for f in FAULTS if isinstance(f.step, ByAPerson) and not f.step.why] == []


def test_there_are_as_many_faults_as_were_planted_by_others() -> None:
    assert len(FAULTS) >= 90
    assert len({(fault.check, fault.name) for fault in FAULTS}) == len(FAULTS)
