"""A folder of uploaded files, media backups of it, and hostile ones signed by our own key."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings as current

from ops.backups.catalogue import record_backup
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.naming import new_name
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind
from ops.restores.media.restoring import (
    MediaOutcome,
    ask_for_media_restore,
    ask_for_media_undo,
    restore_uploads,
    undo_media_restore,
)
from ops.restores.requests import MediaRequest
from tests.ops.backups.conftest import ASKER, SIGNING_KEY

FILES = {
    "a.txt": b"hello",
    "empty": b"",
    "Größe & Maß.png": b"\x89PNG" * 1_000,
    "jobs/1/photo.jpg": b"one",
    "jobs/2/photo.jpg": b"\1" * 700_000,
}


@dataclass(frozen=True)
class Uploads:
    """A folder of uploaded files."""

    folder: Path

    def put(self, files: dict[str, bytes]) -> None:
        """Write files as uploads are."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def all(self) -> dict[str, bytes]:
        """Every file's content, hidden ones too."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


def bring_back(**choices: Any) -> MediaOutcome:
    """Restore uploaded files as the command does."""
    return restore_uploads(ask_for_media_restore(MediaRequest(**choices), by=ASKER))


def take_back(number: int | None = None) -> tuple[str, ...]:
    """Undo a restore; the names of the files that others changed since."""
    done, _ = undo_media_restore(ask_for_media_undo(number, by=ASKER))
    return done.left


def signed_backup(tar: bytes, **details: Any) -> Backup:
    """Store a tar as a media backup of ours, whatever is in it."""
    now = datetime.now(UTC)
    name = str(new_name(environment=current.ENVIRONMENT, taken_at=now, kind=BackupKind.MEDIA))
    vault = Vault.primary()
    Path(vault.storage.path("")).mkdir(parents=True, exist_ok=True)
    Path(vault.storage.path(f"{name}.tar")).write_bytes(tar)
    stored = StoredObject(
        "media", f"{name}.tar", len(tar), hashlib.sha256(tar).hexdigest(), len(tar), "none"
    )
    manifest = Manifest(
        name, BackupKind.MEDIA, current.ENVIRONMENT, now.isoformat(), now.isoformat(), 0.0,
        [stored], {}, {}, details=details,
    )  # fmt: skip
    vault.write(manifest.object_name, manifest.signed(SIGNING_KEY))
    return record_backup(manifest, vault.label)


def tar_with(*members: tuple[tarfile.TarInfo, bytes] | Callable[[io.BytesIO], None]) -> bytes:
    """A tar of these members, between two good files; a function writes bytes of its own."""
    made = io.BytesIO()
    good = tarfile.TarInfo("good.txt")
    good.size = 4
    made.write(_with_content(good, b"good"))
    for member in members:
        if callable(member):
            member(made)
        else:
            made.write(_with_content(*member))
    made.write(bytes(1024))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: Any) -> tarfile.TarInfo:
    """A header."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


def _with_content(info: tarfile.TarInfo, content: bytes) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
