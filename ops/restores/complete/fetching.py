"""A dump on its way out of the storage: decrypted into a file that nobody else reads, and that goes
on every way out; what a killed process left goes when the next one begins.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from django.conf import settings

from ops.backups.manifest import Manifest
from ops.backups.receiving import receive_from
from ops.backups.vault import Vault
from ops.progress import Progress
from ops.restores.errors import RestoreError

_SURELY_DEAD = 60.0  # seconds


@contextmanager
def private_folder(mark: str) -> Iterator[Path]:
    """Lend a folder that nobody else reads, removed on every way out. Raises RestoreError."""
    base = settings.VAR_DIR / "restores"
    try:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_left_over_folders(base)
        folder = base / f"{mark}-{secrets.token_hex(3)}"
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise RestoreError(
            f"There is no room to restore from: {base} can't be used ({error.strerror}). Nothing "
            "was changed. Make it a folder that this user may write to."
        ) from None
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[IO[str]]:
    descriptor = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _remove_left_over_folders(base: Path) -> None:
    for folder in base.iterdir():
        with suppress(OSError), (folder / "owner.lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        # Killed between the two, one was made and never held; a young one may be about to be.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _SURELY_DEAD:
                folder.rmdir()


def fetch(manifest: Manifest, vault: Vault, target: Path, progress: Progress) -> Path:
    """Decrypt and decompress a dump into a file of ours, every byte held against the manifest.

    Raises what receive() raises, and RestoreError when the disk is full.
    """
    stored = manifest.archive
    progress.phase("fetching and decrypting", stored.size, "bytes")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            receive_from(vault, stored, file, progress)
    except OSError as error:
        raise RestoreError(
            f"The dump could not be written to {target.parent.parent}: {error.strerror}. Nothing "
            f"was changed. It takes {stored.raw_size:,} bytes there; free some, or set SRVC_VAR."
        ) from None
    return target
