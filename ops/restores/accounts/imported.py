"""What came of an import, for whoever asked and for the page of its run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ops.restores.accounts.archive import Archive


@dataclass(frozen=True)
class Imported:
    """What came in; of a dry run what would have."""

    account: int  # its key here
    login: str  # what its owner signs in with here
    rows: dict[str, int]
    files: int
    notes: tuple[str, ...] = field(default=())
    dry_run: bool = False
    archive: Archive | None = None  # what it came from

    def as_json(self) -> dict[str, Any]:
        """What its run keeps of it."""
        says = self.archive
        return {
            "account": None if self.dry_run else self.account,
            "email": self.login,
            "rows": dict(self.rows),
            "files": self.files,
            "notes": list(self.notes),
            "passwords": says is not None and says.passwords,
            "from_email": "" if says is None else says.account["email"],
            "from_environment": "" if says is None else says.environment,
            "made_at": "" if says is None else says.made_at,
        }
