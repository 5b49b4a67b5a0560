"""Opening an account's archive: looked at to its last byte before anything of it is used."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ops.backups.errors import DamagedError
from ops.backups.incoming import unpack
from ops.backups.keys import age_identities
from ops.backups.manifest import StoredObject
from ops.backups.scratch import scratch
from ops.progress import Progress
from ops.restores.accounts.archive import (
    LONGEST_LINE,
    LONGEST_MANIFEST,
    MANIFEST,
    Archive,
    Rows,
    StoredFile,
    damaged,
)
from ops.restores.errors import RefusedError

_CHUNK = 1 << 20
_AGE = b"age-encryption.org/"
Value = str | None


@dataclass(frozen=True)
class OpenArchive:
    """An archive whose every byte was found to be as its manifest says."""

    says: Archive
    _tar: tarfile.TarFile
    _members: dict[str, tarfile.TarInfo]

    def rows(self, part: Rows) -> Iterator[tuple[Value, ...]]:
        """Yield the rows of a table, in the order of its columns, as PostgreSQL reads them.

        Raises RefusedError for a line that is no such row.
        """
        with self.open(part.file) as file:
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE or not line.endswith(b"\n"):
                    raise damaged(f"line {number:,} of {part.file} is too long, or has no end")
                yield _values(line, part, number)
        if number != part.rows:
            raise damaged(f"{part.file} has {number:,} rows; the manifest tells of {part.rows:,}")

    def open(self, member: str) -> IO[bytes]:
        """Open a member for reading."""
        file = self._tar.extractfile(self._members[member])
        assert file is not None  # only files are members
        return file

    def content(self, stored: StoredFile) -> Iterator[bytes]:
        """Yield an uploaded file."""
        with self.open(stored.file) as file:
            while piece := file.read(_CHUNK):
                yield piece


@contextmanager
def opened(path: Path, progress: Progress) -> Iterator[OpenArchive]:
    """Lend an archive, verified. Raises RefusedError, which says what is wrong with it.

    An encrypted one is decrypted into a private folder, which goes with the block.
    """
    with ExitStack() as stack:
        try:
            with path.open("rb") as file:
                start = file.read(len(_AGE))
            if start == _AGE:
                folder = stack.enter_context(scratch()).folder
                path = _decrypted(path, folder / "archive.tar", progress)
            tar = stack.enter_context(tarfile.open(path, "r:"))
            members, says = _members(tar, path, progress)
        except tarfile.TarError:
            raise damaged("it is no tar that can be read to its end") from None
        except OSError as error:
            raise RefusedError(
                f"{path} can't be read: {error.strerror or error}. Nothing was imported."
            ) from None
        yield OpenArchive(says, tar, members)


def _decrypted(path: Path, target: Path, progress: Progress) -> Path:
    identities = age_identities()
    if not identities:
        raise RefusedError(
            f"{path.name} is encrypted, and no identity is here that might open it. Nothing was "
            "imported. Name the identity's file in BACKUP_AGE_IDENTITY_FILES."
        )
    progress.phase("decrypting the archive", path.stat().st_size, "bytes")
    public = [str(identity.to_public()) for identity in identities]
    stored = StoredObject("archive", path.name, 0, "", 0, "none", "age", public)
    with path.open("rb") as source, target.open("xb") as sink:
        target.chmod(0o600)
        try:
            unpack(source, stored, _Counted(sink, progress))
        except DamagedError as error:
            raise RefusedError(
                f"The archive can't be decrypted: {error} Nothing was imported. Either no identity "
                "here is one it was encrypted to, or it is damaged: fetch it again."
            ) from None
    return target


class _Counted:
    """Writes, counts and asks whether to go on."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress = file, progress

    def write(self, data: bytes) -> None:
        self._progress.check()
        self._file.write(data)
        self._progress.advance(len(data))


def _members(
    tar: tarfile.TarFile, path: Path, progress: Progress
) -> tuple[dict[str, tarfile.TarInfo], Archive]:
    """Read every member, and return them with the manifest that they are as."""
    progress.phase("checking the archive", path.stat().st_size, "bytes")
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg():
        raise damaged(f"it does not begin with {MANIFEST}")
    if first.size > LONGEST_MANIFEST:
        raise damaged(f"its {MANIFEST} has {first.size:,} bytes")
    manifest = tar.extractfile(first)
    assert manifest is not None
    says = Archive.read(manifest.read())
    found: dict[str, tarfile.TarInfo] = {}
    told = says.members
    while (member := tar.next()) is not None:
        _check(tar, member, told, progress)
        if member.name in found:
            raise damaged(f"{member.name} is in it twice")
        found[member.name] = member
    missing = sorted(set(told) - set(found))
    if missing:
        raise damaged(
            f"{missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''} is missing, so "
            "it was cut off, or taken out"
        )
    return found, says


def _check(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    told: dict[str, tuple[int, str]],
    progress: Progress,
) -> None:
    if member.name not in told or not member.isreg() or member.issparse():
        raise damaged(f"{member.name[:80]!r} in it is not named by its manifest")
    size, sha256 = told[member.name]
    if member.size != size:
        raise damaged(f"{member.name} has {member.size:,} bytes; the manifest tells of {size:,}")
    file: Any = tar.extractfile(member)
    digest = hashlib.sha256()
    while piece := file.read(_CHUNK):
        progress.check()
        progress.advance(len(piece))
        digest.update(piece)
    if digest.hexdigest() != sha256:
        raise damaged(f"the SHA-256 of {member.name} is not the manifest's")


def _values(line: bytes, part: Rows, number: int) -> tuple[Value, ...]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or row.keys() != part.columns.keys():
        raise damaged(f"line {number:,} of {part.file} is no row with the columns it should have")
    return tuple(_value(row[name], part, number) for name in part.columns)


def _value(value: Any, part: Rows, number: int) -> Value:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise damaged(f"line {number:,} of {part.file} has a value of a kind that rows don't have")
