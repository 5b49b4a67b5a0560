"""An installation whose database can be restored, and everything beside it removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from ops.backups.comparison import compare
from ops.backups.fingerprint import fingerprint
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.selection import all_tables
from ops.invariants import Invariant
from ops.models import Backup, Restore
from ops.postgres import roles, server
from ops.progress import Progress
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.requests import RestoreRequest
from tests.harness import database
from tests.ops.backups.conftest import ASKER, Backups

# What is carried over from the live database, and so is not what the backup holds.
CARRIED = ("ops_", "django_tasks_", "django_session", "axes_")
NO_MILLS = [
    Invariant(
        "no_mills",
        "No business is a mill.",
        "SELECT name FROM public.accounts WHERE name = 'Mill'",
        ("public.accounts",),
    )
]


@dataclass(frozen=True)
class Restorable:
    """A database that can be restored, here and in processes."""

    backups: Backups

    @property
    def name(self) -> str:
        """The live database."""
        return self.backups.database

    def restore(self, backup: Backup, progress: Progress | None = None, **choices: Any) -> Restore:
        """Restore a backup as the command does."""
        request = RestoreRequest(backup=backup.name, **choices)
        return restore(ask_for_restore(request, by=ASKER), progress)

    def beside(self) -> list[str]:
        """The databases that restores have made beside the live one."""
        with database.connect() as connection:
            names = server.databases(connection, f"{self.name}_")
        return [name for name in names if name != roles.template_of(self.name)]

    def proof(self, name: str = "") -> Proof:
        """What a database holds, but for what is carried over."""
        with database.connect(name or self.name) as connection:
            tables = [
                each
                for each in all_tables(connection)
                if each.kind != "partitioned" and not each.name.startswith(CARRIED)
            ]
            sequences = [
                each for each in sequence_proofs(connection) if not each.name.startswith(CARRIED)
            ]
            return Proof(table_proofs(connection, tables), sequences, fingerprint(connection))

    def differences(self, expected: Proof, name: str = "") -> list[str]:
        """What a database has otherwise, in sentences."""
        return [str(each) for each in compare(expected, self.proof(name))]

    def scalar(self, query: str, name: str = "") -> Any:
        """The one value that a query of the superuser's returns."""
        with self.connect(name) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def connect(self, name: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the superuser, in autocommit mode."""
        return database.connect(name or self.name)


@contextmanager
def made_restorable(backups: Backups) -> Iterator[Restorable]:
    """Provide what provisioning makes; what restores make goes with the test's database."""
    yield Restorable(backups)


def proof_of(backup: Backup) -> Proof:
    """What a backup's manifest proves."""
    proof = Manifest.of_row(backup.manifest).proof
    assert proof is not None
    return Proof.from_json(proof)
