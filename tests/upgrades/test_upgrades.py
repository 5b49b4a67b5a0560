"""Installations of older versions become today's in place, and their backups are restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from psycopg import sql
from pytest_django import DjangoDbBlocker

from ops.backups.rebuild import ask_to_rebuild, rebuild
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState, RestoreState
from ops.postgres import roles, tools
from ops.postgres.provisioning import Provisioning, provision
from tests.harness import database, run
from tests.ops.backups.conftest import ASKER, Backups, backups  # noqa: F401 (a fixture)
from tests.ops.backups.replicating import replicating_server, server_of_a_module  # noqa: F401
from tests.ops.restores.conftest import template  # noqa: F401 (a fixture)
from tests.ops.restores.restorable import CARRIED, Restorable, made_restorable
from tests.upgrades.installations import Installation, kept, migration_digests

server = server_of_a_module()  # the kept dumps are PostgreSQL 18's
Connection = psycopg.Connection[tuple[Any, ...]]
Rows = dict[str, tuple[list[str], list[str]]]

# Django and the project add rows of their own to these when they migrate; none may go.
GROWING = ("django_migrations", "django_content_type", "auth_permission", "auth_group_permissions")


@pytest.fixture(params=kept(), ids=lambda each: each.name)
def installation(request: pytest.FixtureRequest) -> Installation:
    found: Installation = request.param
    return found


@pytest.fixture
def old(
    installation: Installation, scratch: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Return a database as the older version had it."""
    name = f"{run.name()}_old_{installation.name}"
    provision(Provisioning(database.admin(), name, dict.fromkeys(roles.LOGINS, database.PASSWORD)))
    admin = database.admin()
    tools.run(
        tools.find("pg_restore", 18),
        *(f"--host={admin['host']}", f"--username={admin['user']}", f"--dbname={name}"),
        *("--clean", "--if-exists", "--exit-on-error", installation.unpack(scratch)),
        seconds=tools.MINUTE,
    )
    try:
        with django_db_blocker.unblock(), database.pointed_at(name):
            yield name
    finally:
        database.drop_with_prefix(name)


@pytest.fixture
def live(backups: Backups) -> Iterator[Restorable]:  # noqa: F811
    with made_restorable(backups) as found:
        yield found


def rows_of(connection: Connection, columns: dict[str, list[str]] | None = None) -> Rows:
    """Return each table's columns, and a digest of each row's values in them, sorted."""
    found: Rows = {}
    tables = connection.execute(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attname)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1"
    ).fetchall()
    for table, today in tables:
        chosen = today if columns is None else columns.get(table)
        if chosen is None:
            continue  # added since
        values = sql.SQL(", ").join(map(sql.Identifier, chosen))
        query = sql.SQL("SELECT md5(ROW({})::text) AS d FROM {} ORDER BY d").format(
            values, sql.Identifier("public", table)
        )
        found[table] = (chosen, [digest for (digest,) in connection.execute(query)])
    return found


def assert_nothing_lost(before: Rows, name: str, *, without: tuple[str, ...] = ()) -> None:
    with database.connect(name) as connection:
        after = rows_of(connection, {table: columns for table, (columns, _) in before.items()})
    for table, (_, digests) in before.items():
        if table.startswith(without):
            continue
        if table in GROWING:
            assert set(digests) <= set(after[table][1]), table
        else:
            assert digests == after[table][1], table


def pending() -> list[Any]:
    executor = MigrationExecutor(connections["owner"])
    return executor.migration_plan(executor.loader.graph.leaf_nodes())


def test_it_is_migrated_in_place_without_losing_a_row_and_can_be_backed_up(old: str) -> None:
    with database.connect(old) as connection:
        before = rows_of(connection)
    assert sum(len(digests) for _, digests in before.values()) > 4_000
    call_command("migrate", database="owner", interactive=False, verbosity=0)
    assert pending() == []
    call_command("check", database=["owner"])
    assert_nothing_lost(before, old)


@pytest.mark.long
def test_its_backup_is_proven_and_restored_and_migrated_by_todays_version(
    installation: Installation,
    old: str,
    live: Restorable,
) -> None:
    with database.connect(old) as connection:
        before = rows_of(connection)
    shutil.copytree(
        installation.folder,
        live.backups.folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("*.sha256"),
    )
    with database.pointed_at(live.name):
        rebuild(ask_to_rebuild(by=ASKER))
        backup = Backup.objects.get()
        verify_backup(ask_for_verification(backup, by=ASKER, deep=True))
        backup.refresh_from_db()
        assert backup.state == BackupState.PROVEN
        assert live.restore(backup).state == RestoreState.SWAPPED
        assert pending() == []
        assert_nothing_lost(before, live.name, without=CARRIED)
        # And what it has become can be brought back as well.
        today = live.backups.take(kind="full")
        verify_backup(ask_for_verification(today, by=ASKER, deep=True))
        today.refresh_from_db()
        assert today.state == BackupState.PROVEN


def test_landed_migrations_are_never_rewritten() -> None:
    today = migration_digests()
    for installation in kept():
        changed = {name for name, is_ in installation.migrations.items() if today.get(name) != is_}
        assert changed == set(), f"landed with {installation.name}; add a new migration instead"


def test_todays_schema_is_kept_for_the_versions_to_come() -> None:
    newest = kept()[-1]
    missing = set(migration_digests()) - set(newest.migrations)
    assert missing == set(), "run scripts/keep-installation NAME"
