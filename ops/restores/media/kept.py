"""What media restores replaced: kept on this machine's disk for a while, by the run's number."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from ops.backups.media_restore.journal import journals, read_journal
from ops.errors import OpsError
from ops.restores.errors import RefusedError, RestoreError


@dataclass(frozen=True)
class KeptFiles:
    """The way back of one media restore."""

    run: int
    folder: Path
    begun: datetime
    origin: str
    files: int  # that it changed

    @property
    def until(self) -> datetime:
        """When it goes."""
        return self.begun + timedelta(days=settings.RESTORE_KEEP_DAYS)


def make_folder(run: int) -> Path:
    """Make the folder in which a run keeps what it replaces. Raises RestoreError."""
    # Numbers begin again with a new database, whose disk may still have those of the last one.
    folder = _base() / f"{run}-{secrets.token_hex(3)}"
    try:
        _base().mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        for each in (_base(), folder):
            _own_as_installation(each)
    except OSError as error:
        raise RestoreError(
            f"There is no room to keep what is replaced: {folder} can't be made "
            f"({error.strerror}). No uploaded file was changed. Let this user write there."
        ) from None
    return folder


def kept_files() -> list[KeptFiles]:
    """Return what is kept, newest first."""
    found = []
    for folder in journals(_base()):
        with suppress(OpsError, ValueError, KeyError):
            entries, about = read_journal(folder)
            begun = datetime.fromisoformat(about["begun"])
            origin = str(about["origin"])
            found.append(KeptFiles(int(about["run"]), folder, begun, origin, len(entries)))
    return sorted(found, key=lambda each: each.begun, reverse=True)


def kept_of(run: int | None) -> KeptFiles:
    """Return what a run keeps, None: the newest that changed something. Raises RefusedError."""
    for each in kept_files():
        if each.run == run or (run is None and each.files):
            return each
    which = f"media restore {run}" if run else "media restore"
    raise RefusedError(
        f"There is no {which} whose former files are kept on this machine. Nothing was changed. "
        "`manage.py restore --media --list` shows those that are; another backup may have them: "
        "`manage.py backups --kind media`."
    )


def tidy(now: datetime | None = None) -> list[int]:
    """Remove what was kept for long enough; return the numbers of the runs."""
    gone = [each for each in kept_files() if each.until < (now or datetime.now(UTC))]
    for each in gone:
        shutil.rmtree(each.folder, ignore_errors=True)
    return [each.run for each in gone]


def drop_if_empty(folder: Path) -> None:
    """Remove the folder of a run that was over before it had changed anything."""
    if not any(folder.iterdir()):
        folder.rmdir()


def _base() -> Path:
    base: Path = settings.VAR_DIR / "replaced_files"
    return base


def _own_as_installation(folder: Path) -> None:
    """Let root's folder belong to the user of the installation, whose worker takes things back."""
    if os.geteuid() == 0:
        found = Path(settings.VAR_DIR).stat()
        os.chown(folder, found.st_uid, found.st_gid)
