"""What every test of backups stands on: a database, a storage and keys of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pyrage
import pytest
from pytest_django import Settings

from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import Backup
from ops.rls.router import as_owner_by_default
from ops.runs import Asker
from srvc.environment import BASE_DIR
from tests.harness import database, run
from tests.ops.backups.replicating import replicating_server  # noqa: F401 (a fixture)

SIGNING_KEY = "a signing key for tests"
ASKER = Asker("tester@example.com", "test")


def unused_process() -> int:
    """The number of no process."""
    return next(number for number in range(4_000_000, 1, -1) if not psutil.pid_exists(number))


@dataclass(frozen=True)
class Backups:
    """An installation that can take backups: here, and by `manage.py` in processes of its own."""

    database: str
    var: Path
    identity: Path
    recipient: str

    @property
    def folder(self) -> Path:
        """Where the storage keeps its objects."""
        return self.var / "backups"

    @property
    def stored(self) -> list[str]:
        """The names of everything in the storage, hidden files included."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    @property
    def unfinished(self) -> list[str]:
        """What is in the storage and belongs to no complete backup."""
        whole = [path.stem for path in (self.folder / "manifests").glob("*.json")]
        return [name for name in self.stored if not any(each in name for each in whole)]

    def take(self, **choices: Any) -> Backup:
        """Take a backup as the command does."""
        return take_backup(ask_for_backup(Request(**choices), by=ASKER))

    def execute(self, statement: str) -> None:
        """Change the database as its superuser."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the database as its superuser, in autocommit mode."""
        return database.connect(self.database)

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables of a process that works on the same database and storage."""
        inherited = {name: value for name, value in os.environ.items() if name != run.VARIABLE}
        return {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "srvc.settings",
            "SRVC_VAR": str(self.var),
            "BACKUP_SIGNING_KEY": SIGNING_KEY,
            "BACKUP_AGE_RECIPIENTS": self.recipient,
            "BACKUP_AGE_IDENTITY_FILES": str(self.identity),
            "PYTHONWARNINGS": "default",
            **changes,
        }

    def manage(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        """Start `manage.py` in a process of its own, its output piped as in cron."""
        return subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), *arguments],
            cwd=BASE_DIR,
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


class _ClosedWhenCollected(tempfile.SpooledTemporaryFile[bytes]):
    """Closes itself in silence, whenever and in whichever test it is collected."""

    def __del__(self) -> None:
        self.close()


@pytest.fixture
def forgiven_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let django-dbbackup leave its temporary files to the garbage collector, as it does.

    What an exception or a log record still holds is collected tests later, where a warning would
    be an error of that test.
    """
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", _ClosedWhenCollected)


@pytest.fixture
def backups(
    fresh_database: str, tmp_path: Path, scratch: Path, settings: Settings
) -> Iterator[Backups]:
    """Return an installation of this test's own; queries go by the owner's login."""
    var = scratch / "var"
    var.mkdir(mode=0o711)  # private servers are in it, and not on the disk below /var/lib
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    identity = pyrage.x25519.Identity.generate()
    file = keys / "identity.txt"
    file.write_text(f"# made for a test\n{identity}\n")
    file.chmod(0o600)
    settings.VAR_DIR = var
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {
                "location": str(var / "backups"),
                "file_permissions_mode": 0o600,
                "directory_permissions_mode": 0o700,
            },
        },
    }
    settings.BACKUP_AGE_RECIPIENTS = [str(identity.to_public())]
    settings.BACKUP_AGE_IDENTITY_FILES = [str(file)]
    settings.BACKUP_SIGNING_KEY = SIGNING_KEY
    settings.BACKUP_SIGNING_KEY_FALLBACKS = []
    with as_owner_by_default():
        yield Backups(fresh_database, var, file, str(identity.to_public()))
