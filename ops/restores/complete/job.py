"""One complete restore on its way: what its parts share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.models import Restore
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Progress
from ops.restores.complete.sources import Source
from ops.restores.complete.steps import Steps
from ops.restores.requests import RestoreRequest
from ops.runs import Asker, refresh_connection


@dataclass
class Job:
    """One restore on its way."""

    request: RestoreRequest
    live: Endpoint
    mark: str  # what the databases of this restore are named by
    by: Asker
    told: Progress
    steps: Steps
    session: Connection  # holds the lock, on the maintenance database
    row: Restore | None = None  # None on a server that has no catalogue yet
    source: Source | None = None  # given, where no catalogue tells what was asked for
    origin: str = ""
    holds: datetime | None = None
    note: str = ""
    warnings: list[str] = field(default_factory=list)  # what went otherwise, and ended nothing

    def keep(self, **values: Any) -> None:
        """Write into the restore's row what is known by now."""
        if self.row is None:
            return
        refresh_connection()
        Restore.objects.filter(pk=self.row.pk).update(**values)
        for name, value in values.items():
            setattr(self.row, name, value)
