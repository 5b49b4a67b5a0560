"""What a place of uploaded files does for a restore, whatever storage it is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from django.core.exceptions import SuspiciousOperation

from ops.backups.errors import BackupError


class Version(NamedTuple):
    """What tells one state of an uploaded file from the next, without reading it."""

    size: int
    changed: float


class Place(Protocol):
    """Where uploaded files are."""

    def names(self) -> Iterator[str]:
        """Yield the name of every file."""

    def version(self, name: str) -> Version | None:
        """Return what is there under a name; None: nothing. Raises BackupError for a folder."""

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of a file's content."""

    def keep(self, name: str, target: Path) -> None:
        """Put a durable copy of a file into a private one that does not exist yet."""

    def put(self, name: str, source: Path, mtime: int) -> None:
        """Move a file that is on the disk under its name, in place of what is there."""

    def put_back(self, name: str, kept: Path) -> None:
        """Move a kept file under its name again, with owner and mode as they were."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def flush(self) -> None:
        """Let every name that was given or taken survive a power cut."""

    def missing_room(self, size: int, folder: Path) -> str:
        """Return why so many bytes, unpacked in a folder first, don't fit; or nothing."""


@contextmanager
def described(name: str) -> Iterator[None]:
    """Tell a storage's failures in a sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise BackupError(
            f"{name} can't be read or written: {error.strerror or error}. "
            + ("Free some space" if full else "Let the user who runs this read and write it")
            + ", and run this again."
        ) from error
    except SuspiciousOperation as error:
        raise BackupError(f"The storage of uploaded files refuses {name!r}: {error}") from None


def too_small(place: Path, free: int, size: int) -> str:
    return (
        f"The disk of {place} has {free:,} bytes free; the files to bring back take {size:,}. No "
        "uploaded file was changed. Free some, or bring back fewer (--file)."
    )
