"""Names of backups: sortable, unique, and made of characters every storage takes."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.backups.errors import BackupError
from ops.models import BackupKind

# django-dbbackup finds this date in a file's name (DBBACKUP_DATE_FORMAT's default).
DATE = "%Y-%m-%d-%H%M%S"
_NAME = re.compile(
    r"srvc-(?P<environment>[a-z][a-z0-9_-]*?)-(?P<date>\d{4}-\d\d-\d\d-\d{6})"
    r"-(?P<kind>[a-z]+)(?:-(?P<label>[a-z0-9_]+))?-(?P<token>[0-9a-f]{6})"
)
_LABEL = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True)
class BackupName:
    """The parts of a name."""

    environment: str
    taken_at: datetime
    kind: str
    label: str
    token: str

    def __str__(self) -> str:
        parts = ["srvc", self.environment, self.taken_at.astimezone(UTC).strftime(DATE), self.kind]
        return "-".join([*parts, *([self.label] if self.label else []), self.token])


def new_name(*, environment: str, taken_at: datetime, kind: str, label: str = "") -> BackupName:
    """Return a name nobody has; `label` is what the operator calls it.

    Raises BackupError for a label that some storage could not keep.
    """
    if label and not _LABEL.fullmatch(label):
        raise BackupError(
            f"{label!r} can't be part of a backup's name (letters, digits and _, 60 at most). "
            "Nothing was taken. Choose another --name."
        )
    return BackupName(environment, taken_at, kind, label.lower(), secrets.token_hex(3))


def parse_name(name: str) -> BackupName | None:
    """Return the parts of one of our names, or None."""
    match = _NAME.fullmatch(name)
    if match is None or match["kind"] not in BackupKind.values:
        return None
    try:
        taken_at = datetime.strptime(match["date"], DATE).replace(tzinfo=UTC)
    except ValueError:
        return None
    return BackupName(
        match["environment"], taken_at, match["kind"], match["label"] or "", match["token"]
    )
