"""A complete restore, end to end: what is live afterwards is, hash by hash, what was backed up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from pytest_django import Settings

from crm.models import Customer
from ops.backups.manifest import Manifest
from ops.backups.vault import Vault
from ops.models import Backup, Restore, RestoreState, Run, RunKind, RunStatus
from ops.postgres import tools
from ops.postgres.endpoint import Endpoint
from ops.postgres.server import NEWEST_MAJOR
from ops.progress import CancelledError, Counter
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.errors import RefusedError, UnequalError
from ops.restores.requests import RestoreRequest
from ops.rls.session import acting_as, acting_as_admin
from ops.runs import OWNER
from tests.factories import make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups
from tests.ops.restores.restorable import Restorable, made_restorable, proof_of


@pytest.fixture
def live(backups: Backups) -> Iterator[Restorable]:
    with made_restorable(backups) as found:
        yield found


def customers(user: Any) -> list[str]:
    """The last names that a member of a business sees."""
    with acting_as(user, using="default"):
        found = Customer.objects.using("default").order_by("last_name")
        return list(found.values_list("last_name", flat=True))


def test_the_live_database_becomes_what_was_backed_up(live: Restorable) -> None:
    one, other = make_business(), make_business()
    with acting_as_admin(via="test", account_id=one.account_id):
        make_invoice(make_customer(last_name="Before", account_id=one.account_id), "10.00")
    backup = live.backups.take(kind="full")
    before = live.proof()
    # All kinds of harm: changed, deleted, added, dropped, opened to everybody.
    live.backups.execute("UPDATE public.customers SET last_name = 'After'")
    live.backups.execute("CREATE TABLE public.since (id int)")
    live.backups.execute("ALTER TABLE public.since OWNER TO srvc_owner")
    live.backups.execute("DROP TABLE public.invoice_lines CASCADE")
    live.backups.execute("ALTER TABLE public.customers DISABLE ROW LEVEL SECURITY")
    live.backups.execute(f"ALTER DATABASE \"{live.name}\" SET work_mem = '5MB'")
    assert len(live.differences(before)) > 5

    restored = live.restore(backup)

    assert live.differences(before) == []
    assert live.differences(proof_of(backup))[:1] != []  # the record of operations went along
    assert (customers(one), customers(other)) == (["Before"], [])
    with acting_as(one, using="default"):
        make_customer(last_name="Later", account_id=one.account_id)
    assert (customers(one), customers(other)) == (["Before", "Later"], [])
    # What the database itself was told lately is as it was.
    assert live.scalar("SELECT current_setting('work_mem')") == "5MB"
    comment = live.scalar(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname"
        " = current_database()"
    )
    assert comment == ""

    assert restored.state == RestoreState.SWAPPED
    assert live.beside() == [restored.kept_database] == [f"{live.name}_before_{restored.pk}"]
    assert (restored.backup, restored.holds, restored.beside) == (backup, backup.taken_at, "")
    assert [each["name"] for each in restored.phases] == [
        "looked ahead", "fetched", "restored", "compared", "analyzed", "invariants",
        "backed up what was there", "swapped", "writes closed",
    ]  # fmt: skip
    safety = restored.safety_backup
    assert safety is not None
    assert f"-before_restore_{restored.pk}-" in safety.name
    tables = {each.name for each in proof_of(safety).tables}
    assert "since" in tables
    assert "invoice_lines" not in tables
    run = Run.objects.get(kind=RunKind.RESTORE)
    assert (run.status, run.backup, run.message) == (RunStatus.DONE, backup, restored.note)
    assert list((live.backups.var / "restores").iterdir()) == []
    # What is not vacuumed away is analyzed: the planner knows the tables.
    assert live.scalar("SELECT reltuples FROM pg_class WHERE relname = 'customers'") == 1


def test_what_differs_from_its_manifest_never_becomes_live(live: Restorable) -> None:
    make_business(name="Mill")
    backup = live.backups.take(kind="full")
    vault = Vault.primary()
    signed = Manifest.of_row(backup.manifest)
    assert signed.proof is not None
    tables = [
        {**each, "content": "0" * 32} if each["name"] == "accounts" else each
        for each in signed.proof["tables"]
    ]
    wrong = replace(signed, proof={**signed.proof, "tables": tables})
    vault.write(wrong.object_name, wrong.signed(SIGNING_KEY))
    live.backups.execute("UPDATE public.accounts SET name = 'Still here'")
    with pytest.raises(UnequalError) as caught:
        live.restore(backup)
    assert str(caught.value) == (
        f"Restored beside, {backup.name} is not what its manifest says. The live database was not "
        "touched, and what was restored is removed. public.accounts has as many rows, but other "
        "content."
    )
    assert live.scalar("SELECT name FROM public.accounts") == "Still here"
    row = Restore.objects.get()
    assert (row.state, row.note, row.kept_database) == ("failed", str(caught.value), "")
    assert Run.objects.get(kind=RunKind.RESTORE).message == str(caught.value)
    assert live.beside() == []
    # Nobody has closed writes, and nothing was backed up for it.
    assert Backup.objects.count() == 1


def test_rows_alone_go_into_the_schema_they_came_from(live: Restorable) -> None:
    make_business(name="Mill")
    alone = live.backups.take(kind="data")
    with pytest.raises(RefusedError) as caught:
        live.restore(alone)
    assert str(caught.value).startswith(f"{alone.name} holds rows without definitions, and no ")
    live.backups.take(kind="schema")
    name = f"{live.name}_looked"
    row = live.restore(alone, as_name=name)
    assert (row.state, row.beside, row.kept_database) == (RestoreState.BESIDE, name, "")
    assert live.beside() == [name]
    assert live.scalar("SELECT name FROM public.accounts", name) == "Mill"
    # Whoever may enter the live one may enter it.
    assert live.scalar(f"SELECT has_database_privilege('srvc_app', '{name}', 'CONNECT')") is True
    assert live.scalar(f"SELECT has_database_privilege('srvc_public', '{name}', 'CONNECT')") is (
        live.scalar(f"SELECT has_database_privilege('srvc_public', '{live.name}', 'CONNECT')")
    )


def test_what_a_superuser_set_for_the_database_ends_no_restore_beside(live: Restorable) -> None:
    with database.connect() as connection:
        connection.execute(f'ALTER DATABASE "{live.name}" SET log_lock_waits = on'.encode())
    name = f"{live.name}_looked"
    row = live.restore(live.backups.take(kind="schema"), as_name=name, empty=True)
    assert row.state == RestoreState.BESIDE
    # Told with the SQL that a superuser runs.
    statement = row.note.partition("as a superuser run: ")[2]
    assert statement == f'ALTER DATABASE "{name}" SET "log_lock_waits" = \'on\';'


def _migrations() -> set[tuple[str, str]]:
    return set(MigrationLoader(None).disk_migrations)


def test_an_older_schema_is_migrated_before_it_is_live(live: Restorable) -> None:
    make_business(name="Mill")
    *_, before, newest = sorted(name for app, name in _migrations() if app == "crm")
    call_command("migrate", "crm", before, database="owner", verbosity=0, interactive=False)
    connections.close_all()
    backup = live.backups.take(kind="full")
    call_command("migrate", database="owner", verbosity=0, interactive=False)
    connections.close_all()
    row = live.restore(backup, safety_backup=False)
    assert row.state == RestoreState.SWAPPED
    assert [each["found"] for each in row.phases if each["name"] == "migrated forward"] == [
        "1 migration"
    ]
    applied = f"SELECT count(*) FROM public.django_migrations WHERE name = '{newest}'"
    assert live.scalar(applied) == 1
    assert live.scalar("SELECT name FROM public.accounts") == "Mill"


def test_data_that_contradicts_itself_is_refused_unless_confirmed(
    live: Restorable, settings: Settings
) -> None:
    make_business(name="Mill")
    backup = live.backups.take(kind="full")
    settings.INVARIANTS = ["tests.ops.restores.restorable.NO_MILLS"]
    with pytest.raises(UnequalError) as caught:
        live.restore(backup)
    assert str(caught.value) == (
        "The data of that backup contradicts itself. The live database was not touched. Not true: "
        "No business is a mill. Mill. `--despite-invariants` restores it all the same."
    )
    assert live.beside() == []
    row = live.restore(backup, despite_invariants=True, safety_backup=False)
    assert row.state == RestoreState.SWAPPED


def test_a_plain_dump_that_others_made_is_proven_and_swapped_in(
    live: Restorable, tmp_path: Path
) -> None:
    make_business(name="Mill")
    before = live.proof()
    endpoint = Endpoint.of(OWNER)
    file = tmp_path / "data_export.sql"
    tools.run(
        endpoint.program("pg_dump"), *endpoint.arguments(), f"--file={file}",
        seconds=60, password=endpoint.password,
    )  # fmt: skip
    live.backups.execute("UPDATE public.accounts SET name = 'Not in it'")
    run = ask_for_restore(RestoreRequest(file=str(file), safety_backup=False), by=ASKER)
    if endpoint.major < NEWEST_MAJOR:
        with pytest.raises(RefusedError) as caught:
            restore(run)
        assert str(caught.value).startswith(
            f"A file without a manifest is loaded on a private server of PostgreSQL {NEWEST_MAJOR} "
            f"first, and this server is PostgreSQL {endpoint.major}, which can't take a dump of "
        )
        assert live.scalar("SELECT name FROM public.accounts") == "Not in it"
        return
    row = restore(run)
    assert (row.state, row.backup) == (RestoreState.SWAPPED, None)
    assert live.differences(before) == []
    assert row.phases[1]["name"] == "made into a backup"
    assert row.origin == "the file data_export.sql"


def test_cancelling_leaves_the_live_database_as_it_was(live: Restorable) -> None:
    backup = live.backups.take(kind="full")
    live.backups.execute("CREATE TABLE public.since (id int)")

    class Cancelling(Counter):
        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            super().phase(name, total, unit)
            if name == "comparing":
                self.cancel()

    with pytest.raises(CancelledError):
        live.restore(backup, Cancelling())
    assert live.beside() == []
    assert live.scalar("SELECT count(*) FROM public.since") == 0
    assert Restore.objects.get().state == RestoreState.FAILED
    assert Run.objects.get(kind=RunKind.RESTORE).status == RunStatus.CANCELLED
    assert list((live.backups.var / "restores").iterdir()) == []
