"""What WAL is called: positions, PostgreSQL's file names, and names of objects in the storage.

An object's name carries its own authentication, an HMAC over whose segment it is, when it was
closed and the SHA-256 of what is stored. So the archive needs no list beside it: a segment that
was changed, renamed or belongs to another server is told from its name and its bytes alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

FOLDER = "wal"
# What a server is made with unless somebody chose otherwise; then the size is part of the name.
USUAL_SIZE = 16 << 20
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
_TIME = "%Y%m%dT%H%M%S%f"  # to the millisecond, then a Z
_SUFFIXES = {"age": ".age", "gpg": ".gpg"}
_OBJECT = re.compile(
    r"wal/(?P<system>\d{1,20})/(?P<timeline>[0-9A-F]{8})/"
    r"(?P<file>[0-9A-F]{24}|[0-9A-F]{8}\.history)(?:\.(?P<megabytes>\d{1,4})MB)?"
    r"\.(?P<time>\d{8}T\d{9})Z\.(?P<mac>[0-9a-f]{32})\.zst(?P<suffix>\.age|\.gpg|)"
)


def position(lsn: str) -> int:
    """Return a WAL position, such as 0/3000148, as a number of bytes."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn(number: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def is_segment(file: str) -> bool:
    """Tell whether this is the name of a complete segment (no .partial one)."""
    return _SEGMENT.fullmatch(file) is not None


def is_history(file: str) -> bool:
    """Tell whether this is the name of a timeline's history."""
    return _HISTORY.fullmatch(file) is not None


def timeline_of(file: str) -> int:
    """Return the timeline that a segment or a history file is of."""
    return int(file[:8], 16)


def start_of(file: str, size: int) -> int:
    """Return a segment's first position; `size` is the server's segment size in bytes."""
    return (int(file[8:16], 16) << 32) + int(file[16:], 16) * size


def segment_at(timeline: int, at: int, size: int) -> str:
    """Return the name of the segment that holds a position."""
    number, each = at // size, (1 << 32) // size
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


@dataclass(frozen=True)
class ObjectName:
    """The name under which a segment or a history file lies in the storage."""

    system_identifier: str
    file: str  # PostgreSQL's name of it
    size: int  # of a segment, in bytes; histories keep the usual one
    closed_at: datetime
    encryption: str
    mac: str = ""

    @classmethod
    def parse(cls, name: str) -> ObjectName | None:
        """Return the parts of an object's name, or None when it is none of ours."""
        found = _OBJECT.fullmatch(name)
        if found is None or found["file"][:8] != found["timeline"]:
            return None
        try:
            closed_at = datetime.strptime(found["time"], _TIME).replace(tzinfo=UTC)
        except ValueError:
            return None
        size = int(found["megabytes"]) << 20 if found["megabytes"] else USUAL_SIZE
        if size < 1 << 20 or size > 1 << 30 or size & (size - 1):
            return None
        kinds = {suffix: kind for kind, suffix in _SUFFIXES.items()}
        return cls(
            system_identifier=found["system"],
            file=found["file"],
            size=size,
            closed_at=closed_at,
            encryption=kinds.get(found["suffix"], "none"),
            mac=found["mac"],
        )

    @property
    def timeline(self) -> int:
        """The timeline it is of."""
        return timeline_of(self.file)

    @property
    def start(self) -> int | None:
        """A segment's first position."""
        return start_of(self.file, self.size) if is_segment(self.file) else None

    @property
    def end(self) -> int | None:
        """The position behind a segment's last."""
        return None if self.start is None else self.start + self.size

    def signed(self, key: str, sha256: str) -> ObjectName:
        """Return the name that fits what is stored."""
        mac = self._mac(key, sha256)
        return ObjectName(
            self.system_identifier, self.file, self.size, self.closed_at, self.encryption, mac
        )

    def fits(self, keys: list[str], sha256: str) -> bool:
        """Tell whether stored bytes of this SHA-256 are what was given this name."""
        return any(hmac.compare_digest(self.mac, self._mac(key, sha256)) for key in keys)

    def __str__(self) -> str:
        size = "" if self.size == USUAL_SIZE else f".{self.size >> 20}MB"
        suffix = _SUFFIXES.get(self.encryption, "")
        return (
            f"{folder(self.system_identifier, self.timeline)}/{self.file}{size}"
            f".{self._time}.{self.mac}.zst{suffix}"
        )

    @property
    def _time(self) -> str:
        return f"{self.closed_at.astimezone(UTC).strftime(_TIME)[:-3]}Z"

    def _mac(self, key: str, sha256: str) -> str:
        # Every part is of a fixed alphabet without the space, so no two names sign the same text.
        told = f"wal {self.system_identifier} {self.file} {self.size} {self._time} {sha256}"
        return hmac.new(key.encode(), told.encode(), hashlib.sha256).hexdigest()[:32]


def folder(system_identifier: str, timeline: int) -> str:
    """Return the storage's folder of a server's timeline."""
    return f"{FOLDER}/{system_identifier}/{timeline:08X}"
