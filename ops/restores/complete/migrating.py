"""Bringing a restored database beside to the schema of the code, without touching the live one.

It is done by a process of its own (migrate_beside.py), which knows only the database beside: data
migrations that name no database would go to whatever the aliases of this process name.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from ops.backups.watch import watched
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess
from ops.progress import Progress
from ops.restores.errors import RestoreError
from ops.runs import OWNER

_FINISH = 24 * 3600.0  # seconds
_ALIASES = ("default", OWNER)
_APPLYING = "Applying "


def known_migrations() -> set[str]:
    """Return the migrations that the code has, as "app.name", with those that others replace."""
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None, ignore_no_migrations=True)
    found = {f"{app}.{name}" for app, name in loader.disk_migrations}
    for migration in loader.disk_migrations.values():
        found |= {f"{app}.{name}" for app, name in migration.replaces}
    return found


def pending(applied: list[str]) -> list[str]:
    """Return what the code has and a database has not, sorted."""
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None, ignore_no_migrations=True)
    return sorted({f"{app}.{name}" for app, name in loader.graph.nodes} - set(applied))


def migrate_forward(beside: Endpoint, progress: Progress, *, expected: int) -> None:
    """Apply the code's migrations to a database beside. Raises RestoreError."""
    progress.phase("migrating forward", expected, "migrations")
    said: list[str] = []

    def listen(line: str) -> None:
        if line.strip().startswith(_APPLYING):
            progress.advance(1)

    with (
        WritingProcess(
            Path(sys.executable), "-m", "ops.restores.complete.migrate_beside",
            environment=_environment(),
            on_line=said.append,
            on_output=listen,
        ) as process,
        watched(progress.check) as watch,
    ):  # fmt: skip
        watch.stop_by(process.kill)
        try:
            process.stdin.write(json.dumps(_addresses(beside)).encode())
            process.finish(_FINISH)
        except (ToolError, BrokenPipeError) as error:
            progress.check()
            why = next((line for line in reversed(said) if line.strip()), str(error))
            raise RestoreError(
                f"What was restored beside could not be migrated to the schema of this version: "
                f"{why.strip().rstrip('.')}. The live database was not touched. Restore it with "
                "the version of SRVC that the backup was taken with, and upgrade then."
            ) from None


def enter_migrations(beside: Endpoint, applied: list[str]) -> None:
    """Record what a schema without rows has behind it, so that it is not applied again."""
    with beside.connect() as connection:
        connection.execute(
            "INSERT INTO public.django_migrations (app, name, applied)"
            " SELECT split_part(each, '.', 1), substr(each, strpos(each, '.') + 1), now()"
            " FROM unnest(%s::text[]) AS each",
            [applied],
        )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(settings.BASE_DIR), "PYTHONWARNINGS": "default"}


def _addresses(beside: Endpoint) -> dict[str, Any]:
    """Return the aliases' addresses, which reach the process by a pipe: they hold passwords."""
    from django.db import connections

    keys = ("HOST", "PORT", "USER", "PASSWORD")
    return {
        alias: {
            **{key: str(connections[alias].settings_dict[key] or "") for key in keys},
            "NAME": beside.database,
        }
        for alias in _ALIASES
    }
