"""Archives that pages made or were given: private files below SRVC_VAR, and gone in time.

A finished export can be downloaded for ACCOUNT_ARCHIVE_HOURS. An uploaded archive waits as long for
somebody to confirm it; while its import waits or runs, it stays. What is of no more use is removed
by the worker before its next archive, at the next upload, and by the watcher.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from ops.liveness import living
from ops.models import Run, RunKind, RunStatus
from ops.restores.errors import RefusedError

_EXPORTS, _UPLOADS = "exports", "uploads"
ARRIVING = ".arriving"  # ends the name of an upload that is not whole yet


def new_export(*, encrypted: bool) -> Path:
    """Return where an export is to be written. Raises RefusedError when there is no such place."""
    return _folder(_EXPORTS) / f"{secrets.token_hex(16)}.tar{'.age' if encrypted else ''}"


def arrivals() -> Path:
    """Return the folder that uploads arrive in, unfinished ones too. Raises RefusedError."""
    return _folder(_UPLOADS)


def keep_upload(arrived: Path) -> Path:
    """Give an upload that arrived whole a name of its own; its first one may go.

    Raises RefusedError when it can't be kept.
    """
    path = arrived.parent / f"{secrets.token_hex(16)}.tar"
    try:
        os.link(arrived, path)
    except OSError as error:
        raise RefusedError(
            f"The file could not be kept: {error.strerror}. Nothing was imported. Upload it again."
        ) from None
    return path


def expiry(path: Path | str) -> datetime | None:
    """When a file of ours is to be removed; None for one that is none, or is gone."""
    path = Path(path)
    if not _is_ours(path):
        return None
    try:
        written = path.stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(written, UTC) + timedelta(hours=settings.ACCOUNT_ARCHIVE_HOURS)


def archive_of(run: Run, now: datetime) -> Path | None:
    """Return the archive a run made or was given, while it may be used."""
    if run.kind not in {RunKind.EXPORT, RunKind.IMPORT}:
        return None
    if run.kind == RunKind.EXPORT and run.status != RunStatus.DONE:
        return None
    path = Path(run.arguments.get("path", ""))
    until = expiry(path)
    return path if until is not None and until > now else None


def drop(path: Path | str) -> None:
    """Remove a file of ours; one that somebody named to a command is theirs and stays."""
    if _is_ours(Path(path)):
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)


def tidy(now: datetime) -> int:
    """Remove what nobody may use any more; returns how many files."""
    # Looked at before the runs: what is confirmed from now on is not old enough, or is found there.
    old = [
        path
        for name in (_EXPORTS, _UPLOADS)
        for path in (_base() / name).glob("*")
        if (until := expiry(path)) is not None and until <= now
    ]
    if not old:
        return 0
    imports = living(Run.objects.filter(kind=RunKind.IMPORT))
    needed = set(imports.values_list("arguments__path", flat=True))
    gone = [path for path in old if str(path) not in needed]
    for path in gone:
        drop(path)
    return len(gone)


def _base() -> Path:
    return Path(settings.VAR_DIR) / "accounts"


def _is_ours(path: Path) -> bool:
    # A run's row names the path; it must not lead anywhere else.
    return path.parent.parent == _base() and path.parent.name in {_EXPORTS, _UPLOADS}


def _folder(name: str) -> Path:
    folder = _base() / name
    try:
        _base().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RefusedError(
            f"{folder} can't be used ({error.strerror}). Nothing was begun. Make it a folder that "
            "this user may write to."
        ) from None
    return folder
