"""What the restore wizard has been told so far, and what is asked for with that."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

from ops.admin.words import exactly
from ops.models import Backup
from ops.restores.requests import RecoverRequest, RestoreRequest
from ops.restores.subjects import Subject, subjects

EVERYTHING, MOMENT, TABLES = "everything", "moment", "tables"
MODES = {
    "missing": "Bring back what is missing",
    "changed": "Set back what was changed",
    "all": "Both: bring back what is missing, set back what was changed",
    "exact": "Exactly as it was: both, and what was added since goes",
}


@dataclass
class Answers:
    """What the steps so far came to."""

    what: str = ""
    backup: Backup | None = None
    moment: str = ""  # ISO time or restore point
    holds: dt.datetime | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the whole database is replaced; otherwise rows of it come back."""
        return self.what in {EVERYTHING, MOMENT}

    @property
    def subject(self) -> Subject | None:
        """The account or the customer that comes back."""
        return next((each for each in subjects() if each.name == self.what), None)

    @property
    def origin(self) -> str:
        """What it comes from, in words."""
        if self.backup is not None:
            kind = self.backup.get_kind_display().lower()
            return f"{kind} backup of {exactly(self.backup.taken_at)}"
        if self.holds is not None:
            return f"the moment {exactly(self.holds)}"
        return f"the restore point {self.moment}"

    def restore_request(self) -> RestoreRequest:
        """What a complete restore is asked for with."""
        return RestoreRequest(
            backup=self.backup.name if self.backup else "",
            moment=self.moment,
            other_environment=bool(self.options.get("other_environment")),
            safety_backup=not self.options.get("skip_safety"),
            despite_invariants=bool(self.options.get("despite_invariants")),
        )

    def recover_request(self, *, dry_run: bool) -> RecoverRequest:
        """What a partial recovery is asked for with."""
        mode = self.options.get("mode", "missing")
        return RecoverRequest(
            backup=self.backup.name if self.backup else "",
            moment=self.moment,
            tables=tuple(self.options.get("tables", ())),
            subject=self.what if self.subject else "",
            keys=tuple(self.options.get("keys", ())),
            where=self.options.get("where", ""),
            columns=tuple(self.options.get("columns", ())),
            mode="all" if mode == "exact" else mode,
            exact=mode == "exact",
            related=not self.options.get("alone"),
            dry_run=dry_run,
        )


def choices() -> list[tuple[str, str, str]]:
    """What can come back: its name, its title, what that means."""
    return [
        (EVERYTHING, "Everything", "the whole database, as a backup has it"),
        (MOMENT, "A moment", "the whole database, as it was at any moment the WAL leads to"),
        (TABLES, "Tables", "rows of some tables, or tables that are gone"),
        *(
            (each.name, _with_article(each.title), "with all that belongs to it")
            for each in subjects()
        ),
    ]


def _with_article(title: str) -> str:
    return f"{'An' if title[:1] in 'AEIOU' else 'A'} {title.lower()}"


def described(request: RecoverRequest) -> list[tuple[str, str]]:
    """A partial recovery's choices as a page shows them."""
    mode = "exact" if request.exact else request.mode
    told = [
        ("Tables", ", ".join(request.tables)),
        (request.subject.capitalize(), ", ".join(request.keys)),
        ("Rows", MODES.get(mode, json.dumps(mode))),
        ("Only where", request.where),
        ("Only columns", ", ".join(request.columns)),
        ("What belongs to them", "comes along" if request.related else "is left out"),
    ]
    return [(name, value) for name, value in told if name and value]
