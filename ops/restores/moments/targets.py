"""The moment somebody wants back: a time, a WAL position, or the name of a restore point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from ops.backups.wal.names import lsn, position
from ops.restores.errors import RefusedError

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?", re.ASCII)
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", re.ASCII)
# PostgreSQL takes any 63 bytes; these need no quotes anywhere, and look like nothing else.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}", re.ASCII)


class TargetKind(StrEnum):
    """How a moment is told."""

    TIME = "time"
    POSITION = "position"
    POINT = "point"


@dataclass(frozen=True)
class Target:
    """A moment. Up to and including a time; everything before a position; up to a point."""

    kind: TargetKind
    text: str  # as it was asked for
    time: datetime | None = None  # in UTC
    position: int | None = None  # in bytes
    zone_assumed: bool = False  # the time had no zone and was taken for UTC

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text means: an ISO 8601 time, a WAL position, else a restore point's name.

        Raises RefusedError when it can be none of them.
        """
        given = text.strip()
        if _LSN.fullmatch(given):
            return cls(TargetKind.POSITION, given, position=position(given))
        if _TIME.fullmatch(given):
            return cls._of_time(given)
        if _NAME.fullmatch(given):
            return cls(TargetKind.POINT, given)
        raise RefusedError(
            f"{given!r} is no moment. Nothing was begun. A moment is a time such as 2026-11-22 "
            "14:05:30+01:00, a WAL position such as 0/3000060, or the name of a restore point."
        )

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """Return the target of a time that is known already."""
        return cls(TargetKind.TIME, moment.isoformat(), time=moment.astimezone(UTC))

    @classmethod
    def _of_time(cls, given: str) -> Self:
        written = re.sub(r"\s*(?:UTC|Z)$", "+00:00", given)
        try:
            moment = datetime.fromisoformat(written)
            known = moment.tzinfo is not None
            moment = moment.astimezone(UTC) if known else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise RefusedError(
                f"{given!r} is no time: {error}. Nothing was begun. Its form is 2026-11-22 "
                "14:05:30, in UTC, or with a zone as in 2026-11-22 14:05:30+01:00."
            ) from None
        return cls(TargetKind.TIME, given, time=moment, zone_assumed=not known)

    def __str__(self) -> str:
        if self.time is not None:
            return f"the moment {told(self.time)}"
        if self.kind == TargetKind.POSITION and self.position is not None:
            return f"the WAL position {lsn(self.position)}"
        return f"the restore point {self.text}"


def require_point_name(name: str) -> str:
    """Return a name that a restore point may have. Raises RefusedError."""
    if not _NAME.fullmatch(name) or _TIME.fullmatch(name):
        raise RefusedError(
            f"{name!r} can't be the name of a restore point. Nothing was made. It takes up to 63 "
            "of the characters a-z, A-Z, 0-9, _ . : -, begins with a letter or digit, and is no "
            "date."
        )
    return name


def told(moment: datetime) -> str:
    """Return a moment as people read it, to the last digit that counts."""
    written = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{written.rstrip('0').rstrip('.')} UTC"
