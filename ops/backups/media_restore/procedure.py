"""Uploaded files come back: the backup is read to its end twice, once to know, once to unpack.

Nothing is changed before every byte was held against the manifest, all that differs is known and
everything that comes back is on the disk. What is replaced or removed is kept. Then each file takes
its place in one step and is read again there; a failure or a wish to stop puts back what was there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.backups.errors import BackupError, DamagedError
from ops.backups.manifest import Manifest
from ops.backups.media_restore.differences import Choices, Differences, compare, some
from ops.backups.media_restore.journal import (
    MADE,
    REMOVED,
    REPLACED,
    Entry,
    put_back,
    write_journal,
)
from ops.backups.media_restore.place import Place
from ops.backups.media_restore.reading import MediaArchive, Member, read_media
from ops.backups.vault import Vault
from ops.postgres.files import sync_folder
from ops.progress import Counter, Progress

Confirm = Callable[[Differences, Progress], bool]


@dataclass(frozen=True)
class Restored:
    """What a restore of uploaded files came to."""

    differences: Differences
    members: dict[str, Member]
    applied: bool = False  # False: only looked
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()  # changed by others between comparing and writing


@dataclass(frozen=True)
class Folders:
    """Private folders, on one file system."""

    unpacked: Path  # empty; goes afterwards
    kept: Path  # empty; what was replaced stays in it
    about: dict[str, Any] = field(default_factory=dict)  # what the journal says besides


def restore_media(
    manifest: Manifest,
    vault: Vault,
    place: Place,
    choices: Choices,
    folders: Folders,
    progress: Progress,
    *,
    confirm: Confirm = lambda differences, progress: True,
) -> Restored:
    """Bring uploaded files back as a backup has them. Raises OpsError; then nothing is changed."""
    members = read_media(manifest, vault, progress).members
    differences = compare(members, place, choices, progress)
    looked = Restored(differences, members)
    if not confirm(differences, progress):
        return looked
    wanted = frozenset(differences.to_write(choices))
    size = sum(members[name].size for name in wanted)
    if short := place.missing_room(size, folders.unpacked):
        raise BackupError(short)
    archive = MediaArchive({}, {})
    if wanted:
        archive = read_media(manifest, vault, progress, wanted=wanted, into=folders.unpacked)
        if archive.members != members:
            raise DamagedError(
                f"{manifest.name} was another one at the second reading. No uploaded file was "
                "changed. Check its storage."
            )
    return _Exchange(differences, archive, members, place, folders, progress).carry_out(choices)


class _Exchange:
    """Files taking their places, all of them or none."""

    def __init__(
        self,
        differences: Differences,
        archive: MediaArchive,
        members: dict[str, Member],
        place: Place,
        folders: Folders,
        progress: Progress,
    ) -> None:
        self.differences, self.archive, self.members = differences, archive, members
        self.place, self.folders, self.progress = place, folders, progress
        self.done: list[Entry] = []
        self.left: list[str] = []

    def carry_out(self, choices: Choices) -> Restored:
        entries = self._entries(choices)
        if not entries:
            return Restored(self.differences, self.members, True)
        write_journal(self.folders.kept, entries, self.folders.about)
        try:
            self._keep(entries)
            self._exchange(entries)
            self._require_equal()
        except BaseException as error:
            self._give_up(error)
            raise
        written = tuple(sorted(each.name for each in self.done if each.act != REMOVED))
        removed = tuple(sorted(each.name for each in self.done if each.act == REMOVED))
        left = tuple(sorted(self.left))
        return Restored(self.differences, self.members, True, written, removed, left)

    def _entries(self, choices: Choices) -> list[Entry]:
        missing = frozenset(self.differences.missing)
        entries = []
        for number, name in enumerate(self.differences.to_write(choices)):
            sha256 = self.members[name].sha256.hex()
            if name in missing:
                entries.append(Entry(name, MADE, sha256))
            else:
                entries.append(Entry(name, REPLACED, sha256, f"replaced-{number}"))
        for number, name in enumerate(self.differences.to_remove(choices)):
            if self.differences.versions[name] is not None:
                entries.append(Entry(name, REMOVED, "", f"removed-{number}"))
        return entries

    def _keep(self, entries: list[Entry]) -> None:
        """Keep what is about to be replaced or removed, on the disk before the first one is."""
        former = [each for each in entries if each.kept]
        self.progress.phase("keeping former files", len(former), "files")
        for entry in former:
            self.progress.check()
            if self._is_unchanged(entry):
                self.place.keep(entry.name, self.folders.kept / entry.kept)
            self.progress.advance(1)
        sync_folder(self.folders.kept)

    def _exchange(self, entries: list[Entry]) -> None:
        self.progress.phase("putting files into their places", len(entries), "files")
        for entry in entries:
            self.progress.check()
            kept = self.folders.kept / entry.kept if entry.kept else None
            if self._is_unchanged(entry) and (kept is None or kept.exists()):
                self._exchange_one(entry)
                self.done.append(entry)
            else:
                self.left.append(entry.name)  # somebody uploaded or changed it meanwhile
                if kept is not None:
                    kept.unlink(missing_ok=True)
            self.progress.advance(1)
        self.place.flush()

    def _is_unchanged(self, entry: Entry) -> bool:
        return self.place.version(entry.name) == self.differences.versions.get(entry.name)

    def _exchange_one(self, entry: Entry) -> None:
        if entry.act == REMOVED:
            self.place.remove(entry.name)
            return
        unpacked = self.archive.unpacked[entry.name]
        self.place.put(entry.name, unpacked, self.members[entry.name].mtime)

    def _require_equal(self) -> None:
        """Read each file again where it is now. Raises BackupError."""
        self.progress.phase("reading them again", len(self.done), "files")
        wrong = []
        for entry in self.done:
            self.progress.check()
            there = self.place.version(entry.name) is not None
            found = self.place.digest(entry.name).hex() if there else ""
            if found != entry.sha256:
                wrong.append(entry.name)
            self.progress.advance(1)
        if wrong:
            raise BackupError(
                f"What is there now is not what was written: {some(wrong)}. Check the storage of "
                "uploaded files."
            )

    def _give_up(self, error: BaseException) -> None:
        """Put back what was there, and say so in the error."""
        try:
            left = put_back(self.folders.kept, self.place, Counter(), stops=False).left
        except Exception as second:  # noqa: BLE001 (both are told)
            raise BackupError(
                f"{error} Former files could not be put back: {second} They are kept in "
                f"{self.folders.kept}; `manage.py restore --media --undo` puts them back."
            ) from error
        if not left:
            for path in self.folders.kept.iterdir():
                path.unlink()
        elif isinstance(error, Exception):
            raise BackupError(
                f"{error} The former files are back, but for those that others changed "
                f"meanwhile: {some(left)}."
            ) from error
