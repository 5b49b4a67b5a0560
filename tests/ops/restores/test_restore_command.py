"""`manage.py restore` as an operator runs it, in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from crm.models import Customer
from ops.models import Backup, Restore, RestoreState, Run, RunKind
from ops.postgres import roles
from ops.postgres.provisioning import Provisioning, provision
from ops.rls.session import acting_as_admin
from tests.crm.imports.northwind import import_all, needs_northwind
from tests.factories import make_business
from tests.harness import database
from tests.ops.backups.conftest import Backups
from tests.ops.restores.restorable import Restorable, made_restorable


@pytest.fixture
def live(backups: Backups) -> Iterator[Restorable]:
    with made_restorable(backups) as found:
        yield found


def command(live: Restorable, *arguments: str, **changes: str) -> tuple[int, str, str]:
    """Run it to its end; the exit status, what it printed, and what it said."""
    connections.close_all()
    with live.backups.manage("restore", *arguments, **changes) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def here(*words: str, **options: Any) -> str:
    """Run it in this process, which has no terminal; what it printed."""
    out = StringIO()
    call_command("restore", *words, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@needs_northwind
def test_northwind_is_restored_and_the_restore_undone(live: Restorable) -> None:
    import_all(make_business(name="Northwind"))
    backup = live.backups.take(kind="full")
    imported = live.proof()
    live.backups.execute("DROP TABLE public.invoice_lines CASCADE")
    live.backups.execute("UPDATE public.customers SET last_name = 'Nobody'")
    harmed = live.proof()

    out = here("--latest", dry_run=True)
    assert f"{live.name} would be restored from the backup {backup.name}, in about " in out
    assert (live.differences(harmed), live.beside()) == ([], [])
    assert not Run.objects.filter(kind=RunKind.RESTORE).exists()

    with pytest.raises(CommandError) as caught:
        here(backup.name)
    assert (caught.value.returncode, str(caught.value)) == (
        2,
        (
            f"All of {live.name} is replaced by the backup {backup.name}. Nothing was changed: "
            "nobody is there to confirm it. Scripts say --yes."
        ),
    )

    status, out, err = command(live, backup.name, "--yes")
    assert status == 0, err
    row = Restore.objects.get()
    assert live.differences(imported) == []
    assert out.rstrip().endswith(f"To take it back: manage.py restore --undo {row.pk}")
    assert f"{Backup.objects.get(pk=backup.pk).rows:,} rows" in out
    assert "comparing …" in err
    with acting_as_admin(via="test"):
        assert not Customer.objects.filter(last_name="Nobody").exists()

    status, out, _ = command(live, "--undo", "--yes")
    undone = f"{live.name} is again what it was before restore {row.pk}. What was restored, and"
    assert (status, out.startswith(undone)) == (0, True)
    connections.close_all()
    assert live.differences(harmed) == []
    listed = "".join(here(list=True).split())
    assert "Undone" in listed
    assert f"{live.name}_undone_{row.pk}" in listed


def test_a_server_that_has_nothing_gets_its_database_from_the_storage(live: Restorable) -> None:
    make_business(name="Mill")
    live.backups.take(kind="full")
    newest = live.backups.take(kind="full")
    before = live.proof()
    connections.close_all()
    with database.connect() as connection:
        # As after `manage.py provision` on a new server: roles, an empty database, its template.
        connection.execute(f'DROP DATABASE "{live.name}" WITH (FORCE)'.encode())
    provision(
        Provisioning(database.admin(), live.name, dict.fromkeys(roles.LOGINS, database.PASSWORD))
    )
    status, out, err = command(live, "--latest", "--yes", "--json")
    assert status == 0, err
    outcome: dict[str, Any] = json.loads(out)
    assert outcome["origin"] == f"the backup {newest.name}"
    assert live.differences(before) == []
    assert live.beside() == []
    row = Restore.objects.get()
    assert (row.state, row.backup) == (RestoreState.SWAPPED, Backup.objects.get(name=newest.name))
    assert Run.objects.get(kind=RunKind.RESTORE).message == row.note
    # The catalogue is that of the storage, also of what the restored data could not know.
    assert Backup.objects.count() == 2


def test_what_is_asked_wrongly_is_refused_before_anything_begins(live: Restorable) -> None:
    with pytest.raises(CommandError) as caught:
        here()
    assert (caught.value.returncode, str(caught.value)) == (
        2,
        (
            "What to restore from has to be one of: BACKUP, FILE, --latest, --to T. Nothing was "
            "done. `manage.py backups` lists the backups."
        ),
    )
    status, out, _ = command(live, "no-such-backup", "--yes", "--json")
    assert status == 2
    assert json.loads(out) == {
        "restored": False,
        "error": "There is no backup 'no-such-backup' in the catalogue. Nothing was done. "
        "`manage.py backups` lists them; `--rebuild` reads the storage again.",
    }
    assert not Restore.objects.exists()
