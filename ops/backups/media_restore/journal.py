"""The way back of a media restore: what it replaced and removed, kept on the disk of this machine.

What is about to be done is written down, and on the disk, before the first file changes. So after a
kill at any point it is known of each file what it was and what it became: what is there is compared
with both, and nothing that others have changed since is touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.backups.errors import BackupError
from ops.backups.media_restore.place import Place
from ops.postgres.files import sync_folder, write_aside
from ops.progress import Progress

_FILE = "journal.json"
MADE, REPLACED, REMOVED = "made", "replaced", "removed"


@dataclass(frozen=True)
class Entry:
    """One file that a restore changes."""

    name: str
    act: str  # made, replaced, removed
    sha256: str  # hexadecimal, of what it becomes; "" where it is removed
    kept: str = ""  # what the former one is called in the folder of the journal


@dataclass(frozen=True)
class PutBack:
    """What taking a media restore back came to."""

    returned: tuple[str, ...]
    left: tuple[str, ...]  # changed by others since


def write_journal(folder: Path, entries: list[Entry], about: dict[str, Any]) -> None:
    """Keep what is about to be done, durably. Raises BackupError."""
    document = {**about, "entries": [asdict(each) for each in entries]}
    try:
        write_aside(folder / _FILE, json.dumps(document, ensure_ascii=True), None)
        sync_folder(folder.parent)
    except OSError as error:
        raise BackupError(
            f"{folder} can't be written to: {error.strerror}. No uploaded file was changed. Free "
            "some space there, or set SRVC_VAR, and run this again."
        ) from None


def read_journal(folder: Path) -> tuple[list[Entry], dict[str, Any]]:
    """Return what a restore did, and what is known about it. Raises BackupError."""
    try:
        document = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        entries = [Entry(**each) for each in document.pop("entries")]
    except (OSError, ValueError, TypeError, KeyError):
        raise BackupError(
            f"What that restore replaced is not kept in {folder} any more. Nothing was changed."
        ) from None
    return entries, document


def put_back(folder: Path, place: Place, progress: Progress, *, stops: bool = True) -> PutBack:
    """Undo what a journal tells of, as far as nobody has changed it since.

    It can be stopped and begun again unless `stops` is false. Raises BackupError.
    """
    entries, _ = read_journal(folder)
    progress.phase("putting former files back", len(entries), "files")
    returned: list[str] = []
    left: list[str] = []
    for entry in reversed(entries):
        if stops:
            progress.check()
        done = _put_back_one(entry, folder / entry.kept if entry.kept else None, place)
        if done is not None:
            (returned if done else left).append(entry.name)
        progress.advance(1)
    place.flush()
    return PutBack(tuple(sorted(returned)), tuple(sorted(left)))


def _put_back_one(entry: Entry, kept: Path | None, place: Place) -> bool | None:
    """Return whether a file was put back; None: there was nothing to do."""
    there = place.version(entry.name) is not None
    ours = there and bool(entry.sha256) and place.digest(entry.name).hex() == entry.sha256
    if entry.act == MADE:
        if ours:
            place.remove(entry.name)
        return ours if there else None
    if kept is None or not kept.exists():
        return None  # it was never touched, or is put back already
    if there and not ours:
        return False if _differs(entry.name, kept, place) else None
    place.put_back(entry.name, kept)
    return True


def _differs(name: str, kept: Path, place: Place) -> bool:
    with kept.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() != place.digest(name)


def journals(base: Path) -> Iterator[Path]:
    """Yield the folders in which a restore's former files are kept."""
    if base.is_dir():
        yield from sorted(path.parent for path in base.glob(f"*/{_FILE}"))
