"""Reading a media backup: every byte held against its manifest, no member that could do harm.

One member that leads elsewhere, or is anything but a plain file, refuses the archive as a whole:
who made one of those may have made the others, too. Files are unpacked under numbers into a folder
of ours, so that no name of the archive leads anywhere before all of it was read.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ops.backups.errors import BackupError, DamagedError
from ops.backups.manifest import Manifest
from ops.backups.media import MediaTally
from ops.backups.media_names import is_restorable
from ops.backups.receiving import receive_from
from ops.backups.tarreading import TarReading
from ops.backups.vault import Vault
from ops.progress import Progress

_CHUNK = 1 << 20
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Member(NamedTuple):
    """A file in a media backup."""

    size: int
    sha256: bytes
    mtime: int  # seconds; 0: not known


@dataclass(frozen=True)
class MediaArchive:
    """What is in a media backup, once every byte of it was read and found right."""

    members: dict[str, Member]
    unpacked: dict[str, Path]  # the wanted ones, on the disk


def read_media(
    manifest: Manifest,
    vault: Vault,
    progress: Progress,
    *,
    wanted: Container[str] = (),
    into: Path | None = None,
) -> MediaArchive:
    """Read all objects of a media backup; unpack the wanted files into a folder.

    Raises DamagedError when it is not what its manifest says or holds anything but plain files
    with harmless names, KeyMissingError, StorageError, and BackupError when the disk is full.
    """
    found = MediaArchive({}, {})
    progress.phase("reading the backup", sum(each.size for each in manifest.objects), "bytes")
    for stored in manifest.objects:
        tally = MediaTally()
        with _MediaReading(found, tally, stored.raw_size, wanted, into) as reading:
            receive_from(vault, stored, reading, progress)
            reading.finish(stored.name)
        _require_as_told(manifest, stored.name, tally, reading.size)
    return found


class _MediaReading(TarReading):
    """Reads a tar of uploaded files and unpacks the wanted ones."""

    def __init__(
        self,
        found: MediaArchive,
        tally: MediaTally,
        raw_size: int,
        wanted: Container[str],
        into: Path | None,
    ) -> None:
        self._found, self._told, self._raw_size = found, tally, raw_size
        self._wanted, self._folder = wanted, into
        self._parents: set[str] = set()
        super().__init__()

    def write(self, data: bytes) -> None:
        """Take a piece of the tar. Raises DamagedError when there is more than went in."""
        if self._raw_size and self.size + len(data) > self._raw_size:
            raise DamagedError(f"it opens to more than the {self._raw_size:,} bytes that went in")
        super().write(data)

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        _require_harmless(member)
        if member.isdir():
            return
        self._require_single(member.name)
        file = archive.extractfile(member)
        assert file is not None  # it is a plain file
        with file:
            if self._folder is not None and member.name in self._wanted:
                path = self._folder / f"{len(self._found.unpacked)}"
                digest = _unpack(file, path)
                self._found.unpacked[member.name] = path
            else:
                digest = hashlib.sha256()
                while data := file.read(_CHUNK):
                    digest.update(data)
        self.files += 1
        self._found.members[member.name] = Member(member.size, digest.digest(), int(member.mtime))
        self._told.add(member.name, member.size, digest.hexdigest())

    def _require_single(self, name: str) -> None:
        """Refuse a second file of a name, and a file where another one has its folder."""
        parents = [name[:end] for end, letter in enumerate(name) if letter == "/"]
        members = self._found.members
        if name in members or name in self._parents or any(each in members for each in parents):
            raise _harmful(name, "is in it twice, as a file and once more")
        self._parents.update(parents)


def _require_harmless(member: tarfile.TarInfo) -> None:
    name = member.name.rstrip("/") if member.isdir() else member.name
    if not is_restorable(name):
        raise _harmful(name, "does not stay below the folder of uploaded files")
    if member.isdir():
        return
    if member.type not in _PLAIN or member.sparse is not None:
        raise _harmful(name, "is no plain file")


def _harmful(name: str, what: str) -> DamagedError:
    shown = name if len(name) <= 80 else f"{name[:80]}…"
    return DamagedError(
        f"{shown!r} in the backup {what}. A backup of uploaded files never holds that, so nothing "
        "of it can be trusted, and nothing of it was put into its place."
    )


def _unpack(file: IO[bytes], path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    try:
        with open(path, "xb", buffering=0, opener=_private) as target:
            while data := file.read(_CHUNK):
                digest.update(data)
                target.write(data)
            os.fsync(target.fileno())
    except OSError as error:
        raise BackupError(
            f"Files could not be unpacked into {path.parent}: {error.strerror}. No uploaded file "
            "was changed. Free some space there, or set SRVC_VAR, and run this again."
        ) from None
    return digest


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _require_as_told(manifest: Manifest, name: str, tally: MediaTally, size: int) -> None:
    found = tally.contents(size).as_json()
    told = {key: manifest.details.get(key, value) for key, value in found.items()}
    if found != told:
        raise DamagedError(
            f"{name} holds {found['files']:,} files of {found['bytes']:,} bytes; its manifest "
            f"tells of {told['files']:,} of {told['bytes']:,}, or of other ones."
        )
