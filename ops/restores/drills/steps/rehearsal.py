"""What every rehearsal has: a private server, and the steps that only look at what is on it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.management import get_commands
from psycopg import sql

from ops.backups import visible
from ops.backups.deepphysical import check_indexes
from ops.backups.errors import DisprovenError
from ops.backups.manifest import Manifest
from ops.backups.vault import Vault
from ops.backups.verify import is_same
from ops.backups.watch import watched
from ops.invariants import check_invariants
from ops.models import Backup
from ops.postgres import roles
from ops.postgres.errors import ToolError
from ops.postgres.pooler import DIRECT_URL
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress
from ops.restores.drills.ladder import SkippedError, Step
from ops.restores.drills.smoke_mark import mark
from ops.restores.errors import UnequalError
from ops.restores.private import PrivateDatabase

_SHOWN = 10  # differences listed
_HOUR = 3600.0


class Rehearsal(ABC):
    """One restore tried out, as long as the block it is used in."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stack = ExitStack()
        self.holds: datetime | None = None  # the moment that was restored, once that is known
        self._private: PrivateDatabase | None = None

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    @abstractmethod
    def steps(self) -> list[Step]:
        """Return what is tried, in order."""

    @property
    def is_stale(self) -> bool:
        """Whether the catalogue says something else of the backup than its manifest."""
        return False

    @property
    def wanted(self) -> datetime | None:
        """The moment that was asked for, when one was."""
        return None

    @property
    def private(self) -> PrivateDatabase:
        """What was restored. Raises SkippedError while there is nothing."""
        if self._private is None:
            raise SkippedError("Nothing was restored that this could be tried on.")
        return self._private

    def lend(self, private: PrivateDatabase) -> None:
        """Let the following steps look at this."""
        self._private = private

    def common_steps(self) -> list[Step]:
        """Return the steps that any restored database of the application is put to."""
        return [
            Step("indexes", "Every index agrees with its table", self.indexes),
            Step("visible", "Each role sees its own rows", self.visible, may_lack=True),
            Step(
                "invariants",
                "What must be true of the business's data is true",
                self.invariants,
                judges_backup=False,
            ),
            *self._smoke_step(),
        ]

    def _smoke_step(self) -> list[Step]:
        if not settings.SMOKE_TEST_COMMAND:
            return []
        title = "The application works on it"
        return [Step("smoke", title, self.smoke, judges_backup=False)]

    # --- steps -------------------------------------------------------------------------------

    def indexes(self) -> str:
        """pg_amcheck reads every table and index, and looks up each row in each index."""
        check_indexes(self.private.place, self.private.name, self.progress)
        return "pg_amcheck found every row in every index, and nothing damaged."

    def visible(self) -> str:
        """Look as each role, and compare with what was recorded, or with what policies say."""
        private = self.private
        self.progress.phase("looking as each role")
        manifest = private.manifest
        recorded = manifest.details.get(visible.DETAIL) if manifest else None
        with private.connect() as connection:
            # What was recorded was counted up to a limit; what policies say is held to the row.
            looked, differences = visible.contradictions(connection)
            if recorded:
                differences = visible.differences(connection, recorded) or differences
        if not looked:
            raise SkippedError("No role of a request may read any table in it.")
        if differences:
            raise DisprovenError(_listed("Roles see other rows than they should.", differences))
        said = f"In {looked:,} lists of rows each role sees what its policies say"
        return (
            f"{said}, as when it was taken." if recorded else f"{said}; what it saw is unrecorded."
        )

    def invariants(self) -> str:
        """Ask what settings.INVARIANTS lists."""
        asked, wrong, skipped = 0, [], []
        self.progress.phase("asking what must be true")
        with self.private.connect() as connection:
            for outcome in check_invariants(connection):
                self.progress.check()
                asked += 1
                if outcome.skipped:
                    skipped.append(str(outcome))
                elif not outcome.holds:
                    wrong.append(str(outcome))
        if wrong:
            raise UnequalError(_listed("", wrong))
        if skipped:
            raise SkippedError(_listed("", skipped))
        if not asked:
            raise SkippedError("settings.INVARIANTS lists none.")
        return f"{asked} sentences about the data, none contradicted."

    def smoke(self) -> str:
        """Start the application on the private server and use it."""
        private, command = self.private, settings.SMOKE_TEST_COMMAND
        if command not in get_commands():
            raise SkippedError(f"There is no command {command} (settings.SMOKE_TEST_COMMAND).")
        self.progress.phase("using the application on it")
        environment = {**_inherited(), **_logins(private), **mark(private)}
        environment["SRVC_VAR"] = str(private.place.folder / "var")
        said: list[str] = []
        output = b""
        with (
            StreamingProcess(
                Path(sys.executable),
                str(Path(settings.BASE_DIR) / "manage.py"),
                command,
                "--json",
                environment=environment,
                on_line=said.append,
            ) as process,
            watched(self.progress.check) as watch,
        ):
            watch.stop_by(process.kill)
            try:
                while block := process.stdout.read(1 << 16):
                    output += block
                process.finish(_HOUR)
            except (ToolError, ValueError):
                self.progress.check()
                problems = _problems(output) or [line for line in said if line.strip()][-_SHOWN:]
                raise UnequalError(_listed(f"manage.py {command} failed.", problems)) from None
        checks = _checks(output)
        names = dict.fromkeys(str(each.get("name")) for each in checks)  # several owners: once
        return (
            f"manage.py {command}: {len(checks)} checks, {', '.join(names)}."
            if names
            else f"manage.py {command} held."
        )


class BackupRehearsal(Rehearsal):
    """Of one backup in a storage, by its manifest."""

    def __init__(self, backup: Backup, progress: Progress) -> None:
        super().__init__(progress)
        self.backup = backup
        self.vault = Vault.of(backup.storage)
        self._manifest: Manifest | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the catalogue's row is not of this very manifest."""
        return not is_same(self.manifest, self.backup)

    @property
    def manifest(self) -> Manifest:
        """What the storage says about it. Raises SkippedError when nobody could read that."""
        if self._manifest is None:
            raise SkippedError("Its manifest could not be read.")
        return self._manifest


def _checks(output: bytes) -> list[dict[str, Any]]:
    """What the smoke test looked at, where it tells; its exit status alone is the answer."""
    with suppress(ValueError):
        document = json.loads(output)
        if isinstance(document, dict) and isinstance(document.get("checks"), list):
            return [each for each in document["checks"] if isinstance(each, dict)]
    return []


def _problems(output: bytes) -> list[str]:
    return [
        f"{each.get('name')}: {' '.join(map(str, each.get('problems') or ()))}"
        for each in _checks(output)
        if not each.get("held")
    ]


def _listed(begin: str, differences: list[str]) -> str:
    more = f"And {len(differences) - _SHOWN:,} more." if len(differences) > _SHOWN else ""
    return " ".join(filter(None, [begin, *differences[:_SHOWN], more]))


def _inherited() -> dict[str, str]:
    """The environment of the process, without what leads to places that are in use."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # Mail goes nowhere, and nothing of the storages is touched.
    elsewhere = dict.fromkeys(("DATABASE_REPLICATION_URL", DIRECT_URL), "")
    return {**kept, "EMAIL_URL": "dummymail://", **elsewhere}


def _logins(private: PrivateDatabase) -> dict[str, str]:
    """Give the logins of the private server passwords of its own; return their addresses."""
    address: dict[str, Any] = dict(private.place.server.connection)
    found = {}
    with private.connect() as connection:
        for variable, login in (("DATABASE_URL", roles.APP), ("DATABASE_OWNER_URL", roles.OWNER)):
            password = secrets.token_urlsafe(24)
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'").format(
                    sql.Identifier(login), sql.Literal(password)
                )
            )
            host, name = quote(str(address["host"]), safe=""), quote(private.name, safe="")
            found[variable] = f"postgres://{login}:{password}@{host}:{address['port']}/{name}"
    return found
