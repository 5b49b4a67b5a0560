"""The manifest: what a backup holds, proven while it was taken, signed, and written last.

An object without a manifest is no backup. The signature tells a manifest that somebody edited, or
that belongs to another installation, from ours; the SHA-256 in it ties the object to it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ops.backups.errors import DamagedError

FORMAT = 1
FOLDER = "manifests"
# A manifest of a schema of ten thousand tables stays below this; more is not one of ours.
LONGEST = 256_000_000


@dataclass(frozen=True)
class StoredObject:
    """One object of a backup, as it lies in the storage."""

    role: str  # archive, backup_manifest, media
    name: str
    size: int  # bytes as stored
    sha256: str  # of the bytes as stored
    raw_size: int  # bytes before compression and encryption
    compression: str = "zstd"  # zstd, gzip, none
    encryption: str = "none"  # age, gpg, none
    recipients: list[str] = field(default_factory=list)  # public keys that can open it


@dataclass(frozen=True)
class Manifest:
    """Everything a backup says about itself. Times are ISO 8601 in UTC."""

    name: str
    kind: str
    environment: str
    taken_at: str
    finished_at: str
    seconds: float
    objects: list[StoredObject]
    server: dict[str, Any]  # version, major, system_identifier, wal_position, timeline
    database: dict[str, Any]  # name, owner, ACL, settings, locale: snapshot.database_properties
    extensions: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    roles_sql: str = ""  # pg_dumpall --roles-only --no-role-passwords
    migrations: list[str] = field(default_factory=list)  # "app.name", as applied
    proof: dict[str, Any] | None = None  # proof.Proof as JSON, of logical backups
    selection: list[str] = field(default_factory=list)  # --table, as given
    parent: str | None = None  # of an incremental backup
    wal: dict[str, Any] = field(default_factory=dict)  # physical: timeline, start_lsn, stop_lsn
    details: dict[str, Any] = field(default_factory=dict)  # what one kind alone has to tell
    programs: dict[str, str] = field(default_factory=dict)  # who wrote it: srvc, pg_dump
    format: int = FORMAT

    @property
    def archive(self) -> StoredObject:
        """The object that holds the data."""
        return self.objects[0]

    @property
    def object_name(self) -> str:
        """Where the manifest itself lies."""
        return manifest_name(self.name)

    def signed(self, key: str) -> bytes:
        """Return the file's content."""
        document = asdict(self)
        document["signature"] = signature_of(document, key)
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, content: bytes, keys: list[str], *, name: str) -> Self:
        """Return the manifest in a file; `name` is the backup's, from the file's own name.

        Raises DamagedError when it is no manifest, was edited, was signed with another key, or is
        another backup's.
        """
        document = _parsed(content, name)
        signature = document.pop("signature", None)
        if not isinstance(signature, str):
            raise DamagedError(f"The manifest of {name} has no signature. It can't be trusted.")
        if not _is_signed(document, signature, keys):
            raise DamagedError(
                f"The manifest of {name} was changed after it was written, or signed with another "
                "BACKUP_SIGNING_KEY. It can't be trusted. If the key was changed, put the former "
                "one into BACKUP_SIGNING_KEY_FALLBACKS."
            )
        if document.get("format") != FORMAT:
            raise DamagedError(
                f"The manifest of {name} has format {document.get('format')!r}, which this version "
                f"of SRVC (format {FORMAT}) can't read. Use the version that wrote it."
            )
        if document.get("name") != name:
            raise DamagedError(
                f"The manifest named {name} is the one of {document.get('name')}: files were "
                "swapped or renamed. It can't be trusted."
            )
        known = {entry.name for entry in fields(cls)}
        try:
            objects = [StoredObject(**entry) for entry in document.pop("objects")]
            return cls(
                objects=objects, **{key: value for key, value in document.items() if key in known}
            )
        except (KeyError, TypeError):
            raise DamagedError(
                f"The manifest of {name} is signed, and says other things than a manifest of "
                f"format {FORMAT} does. Use the version that wrote it."
            ) from None

    def as_json(self) -> dict[str, Any]:
        """Return what the catalogue's row keeps."""
        return asdict(self)

    @classmethod
    def of_row(cls, document: dict[str, Any]) -> Self:
        """Return the manifest that a catalogue row keeps. The one in the storage is what counts."""
        objects = [StoredObject(**entry) for entry in document["objects"]]
        return cls(**{**document, "objects": objects})


def manifest_name(backup: str) -> str:
    """Return where the manifest of a backup lies."""
    return f"{FOLDER}/{backup}.json"


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedError(
            f"The manifest of {name} is cut off or no JSON. It can't be trusted."
        ) from None
    if not isinstance(document, dict):
        raise DamagedError(f"The manifest of {name} is no manifest. It can't be trusted.")
    return document


def _is_signed(document: dict[str, Any], signature: str, keys: list[str]) -> bool:
    try:
        given = signature.encode()
        return any(hmac.compare_digest(given, signature_of(document, key).encode()) for key in keys)
    except UnicodeEncodeError:  # half a character, which nobody signs
        return False


def signature_of(document: dict[str, Any], key: str) -> str:
    """Return a document's HMAC-SHA256, which no order of keys changes."""
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    return hmac.new(key.encode(), canonical, hashlib.sha256).hexdigest()
