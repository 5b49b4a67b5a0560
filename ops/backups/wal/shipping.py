"""One segment on its way into the storage, and back.

What is stored is compressed and encrypted as a whole in memory (a segment has 16 MB) and written
under a name that authenticates it; then comes the catalogue's row, and only then the local file
goes. Killed in between, the next start finds the object in the storage, looks at it, and writes the
row.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import zstandard
from django.utils import timezone

from ops.backups import keys
from ops.backups.errors import DamagedError, KeyMissingError
from ops.backups.incoming import receive
from ops.backups.manifest import StoredObject
from ops.backups.outgoing import Upload
from ops.backups.vault import Vault
from ops.backups.wal.names import ObjectName, folder, is_history, is_segment, lsn, timeline_of
from ops.models import WalSegment

# The first page of a segment: magic, flags, timeline, position, remainder, system identifier,
# segment size, page size.
_HEADER = struct.Struct("=HHIQI4xQII")
_LONG_HEADER = 0x0002
# An object of a segment takes no more than the segment and what encryption adds.
_LONGEST = (1 << 30) + (1 << 24)
_CLEAR = keys.Encryption("none")


@dataclass(frozen=True)
class Server:
    """Whose WAL it is."""

    system_identifier: str
    segment_size: int  # bytes


class Shipper:
    """Brings the closed segments of a folder into storages, each once."""

    def __init__(
        self,
        closed: Path,
        server: Server,
        vaults: list[Vault],
        *,
        closed_at: Callable[[Path], datetime],
    ) -> None:
        self._folder, self._server, self._closed_at = closed, server, closed_at
        self.vaults = vaults
        self.rows_written = 0  # each took one transaction
        # A process that was killed may have stored these without telling anybody.
        self._suspects = {(vault.label, path.name) for vault in vaults for path in self.waiting()}
        self._stored: dict[tuple[str, str], tuple[ObjectName, int]] = {}

    def waiting(self) -> list[Path]:
        """Return the local files that are not in every storage yet, oldest first."""
        found = (path for path in self._folder.iterdir() if _is_ours(path.name))
        return sorted(found, key=lambda path: path.name)

    def waiting_for(self, vault: Vault) -> list[Path]:
        """Return those of them that this storage lacks."""
        files = self.waiting()
        known = self._known(vault, [path.name for path in files])
        return [path for path in files if path.name not in known]

    def ship(self, path: Path, vault: Vault) -> WalSegment:
        """Store one file. Raises StorageError, Django's DatabaseError, and DamagedError for a
        file that is not what its name says.
        """
        key = (vault.label, path.name)
        if key not in self._stored:
            self._stored[key] = self._adopted(path, vault) or self._store(path, vault)
        name, size = self._stored[key]
        row = record_segment(name, size, vault.label)
        self.rows_written += 1
        self._suspects.discard(key)
        del self._stored[key]
        return row

    def forget(self) -> int:
        """Remove the local files that every storage has; return how many those were."""
        files = self.waiting()
        names = [path.name for path in files]
        known = [self._known(vault, names) for vault in self.vaults]
        whole = [path for path in files if all(path.name in each for each in known)]
        for path in whole:
            path.unlink(missing_ok=True)
        return len(whole)

    def _known(self, vault: Vault, files: list[str]) -> set[str]:
        if not files:
            return set()
        rows = WalSegment.objects.filter(
            system_identifier=self._server.system_identifier,
            storage=vault.label,
            segment__in=files,
        )
        return set(rows.values_list("segment", flat=True))

    def _store(self, path: Path, vault: Vault) -> tuple[ObjectName, int]:
        content = path.read_bytes()
        require_content(path.name, self._server, content)
        encryption = _CLEAR if is_history(path.name) else keys.encryption()
        name = ObjectName(
            system_identifier=self._server.system_identifier,
            file=path.name,
            size=self._server.segment_size,
            closed_at=_milliseconds(self._closed_at(path)),
            encryption=encryption.kind,
        )
        upload = Upload(io.BytesIO(content), encryption=encryption)
        try:
            packed = upload.read()
        finally:
            upload.close()
        name = name.signed(keys.signing_keys()[0], hashlib.sha256(packed).hexdigest())
        vault.write(str(name), packed)
        vault.require_size(upload.stored("wal", str(name)))
        return name, len(packed)

    def _adopted(self, path: Path, vault: Vault) -> tuple[ObjectName, int] | None:
        """Return what a killed process stored of this file; what is not whole is removed."""
        if (vault.label, path.name) not in self._suspects:
            return None
        place = folder(self._server.system_identifier, timeline_of(path.name))
        for each in vault.names(place):
            name = ObjectName.parse(f"{place}/{each}")
            if name is None or name.file != path.name:
                continue
            try:
                return name, len(_authentic(name, vault))
            except DamagedError:
                vault.delete(str(name))
        return None


def record_segment(name: ObjectName, size: int, storage: str) -> WalSegment:
    """Write the catalogue's row of a stored object. Raises Django's DatabaseError."""
    values = {
        "timeline": name.timeline,
        "object_name": str(name),
        "start_lsn": "" if name.start is None else lsn(name.start),
        "end_lsn": "" if name.end is None else lsn(name.end),
        "size": size,
        "closed_at": name.closed_at,
        "stored_at": timezone.now(),
    }
    known = WalSegment.objects.filter(
        system_identifier=name.system_identifier, segment=name.file, storage=storage
    )
    # One statement each: update_or_create would take a transaction of three.
    if known.update(**values):
        return known.get()
    return WalSegment.objects.create(
        system_identifier=name.system_identifier, segment=name.file, storage=storage, **values
    )


def rebuild_segments(vault: Vault) -> int:
    """Enter every segment of a storage into the catalogue, from names and sizes alone.

    Rows of objects that are gone are removed. Returns how many segments there are.
    """
    found = dict(_objects(vault))
    WalSegment.objects.filter(storage=vault.label).exclude(
        object_name__in=[str(name) for name in found]
    ).delete()
    known = set(
        WalSegment.objects.filter(storage=vault.label).values_list("object_name", flat=True)
    )
    for name, size in found.items():
        if str(name) not in known:
            record_segment(name, size, vault.label)
    return len(found)


def verify_segment(row: WalSegment) -> None:
    """Read a stored segment to its last byte, and hold it against its name and its row.

    Raises MissingObjectError; DamagedError, which says what differs; and KeyMissingError where
    nothing can open it: then it is unchanged, and no more can be said.
    """
    name = ObjectName.parse(row.object_name)
    if name is None or name.file != row.segment:
        raise DamagedError(f"{row.object_name} is no name of the segment {row.segment}.")
    open_segment(name, Vault.of(row.storage))


def open_segment(name: ObjectName, vault: Vault) -> bytes:
    """Return the segment (or history) that is stored under a name, checked. Raises as above."""
    packed = _authentic(name, vault)
    if is_history(name.file):
        try:
            return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        except zstandard.ZstdError as error:
            raise DamagedError(f"{name} can't be opened: {error}.") from None
    stored = StoredObject(
        role="wal",
        name=str(name),
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        raw_size=name.size,
        encryption=name.encryption,
        # Its name does not tell to whom it is encrypted, so whatever is here is tried.
        recipients=[str(each.to_public()) for each in keys.age_identities()],
    )
    content = io.BytesIO()
    try:
        receive(io.BytesIO(packed), stored, content)
    except DamagedError as error:
        # These are the bytes that were stored, so what does not fit is the key.
        raise KeyMissingError(
            f"{name} is unchanged since it was stored, but nothing here opens it: {error} Name the "
            "identity's file in BACKUP_AGE_IDENTITY_FILES, on a machine that may have it."
        ) from None
    server = Server(name.system_identifier, name.size)
    require_content(name.file, server, content.getvalue())
    return content.getvalue()


def require_content(file: str, server: Server, content: bytes) -> None:
    """Refuse a segment that its own first page says to be another one. Raises DamagedError."""
    if is_history(file):
        return
    if len(content) != server.segment_size:
        raise DamagedError(
            f"The segment {file} has {len(content):,} bytes instead of {server.segment_size:,}."
        )
    _, flags, timeline, position, _, system, size, _ = _HEADER.unpack_from(content)
    expected = ObjectName(server.system_identifier, file, server.segment_size, timezone.now(), "")
    if not flags & _LONG_HEADER or position != expected.start or size != server.segment_size:
        raise DamagedError(f"The segment {file} does not begin as that segment of WAL does.")
    # A segment in which a timeline began starts with a page of the one before.
    if str(system) != server.system_identifier or timeline > expected.timeline:
        raise DamagedError(
            f"The segment {file} is of server {system}, timeline {timeline}; "
            f"{server.system_identifier} was expected."
        )


def _authentic(name: ObjectName, vault: Vault) -> bytes:
    """Return an object's bytes, which are what was stored under this name."""
    packed = vault.read(str(name), _LONGEST)
    if not name.fits(keys.signing_keys(), hashlib.sha256(packed).hexdigest()):
        raise DamagedError(
            f"{name} was changed after it was stored, renamed, or signed with another "
            "BACKUP_SIGNING_KEY. It can't be trusted. If the key was changed, put the former one "
            "into BACKUP_SIGNING_KEY_FALLBACKS."
        )
    return packed


def _objects(vault: Vault) -> list[tuple[ObjectName, int]]:
    found = []
    for system in vault.folders("wal"):
        for timeline in vault.folders(f"wal/{system}"):
            for each in vault.names(f"wal/{system}/{timeline}"):
                path = f"wal/{system}/{timeline}/{each}"
                if (name := ObjectName.parse(path)) is not None:
                    found.append((name, vault.size(path)))
    return found


def _milliseconds(moment: datetime) -> datetime:
    """Return it as a name can tell it, earlier rather than later."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _is_ours(file: str) -> bool:
    return is_segment(file) or is_history(file)
