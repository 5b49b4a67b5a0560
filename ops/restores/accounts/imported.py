"""What came of an import, for whoever asked and for the page of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.restores.accounts.archive import Archive


@dataclass(frozen=True)
class Imported:
    """What came in; of a dry run what would have."""

    account: int  # its key here
    login: str  # what its owner signs in with here
    rows: dict[str, int]
    files: int
    notes: tuple[str, ...]
    dry_run: bool
    archive: Archive  # what it came from

    def as_json(self) -> dict[str, Any]:
        """What its run keeps of it."""
        return {
            "account": None if self.dry_run else self.account,
            "email": self.login,
            "rows": dict(self.rows),
            "files": self.files,
            "notes": list(self.notes),
            "passwords": self.archive.passwords,
            "from_email": self.archive.account["email"],
            "from_environment": self.archive.environment,
            "made_at": self.archive.made_at,
        }
