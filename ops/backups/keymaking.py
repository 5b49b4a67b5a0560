"""Making an age identity: the public half encrypts backups, the secret half opens them.

The launcher makes one for a development machine before Django is loaded, so nothing here needs it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pyrage

from ops.backups.errors import BackupError
from ops.postgres.files import sync_folder


def make_identity(file: Path) -> str:
    """Write a new identity into a file of its own, and return the public key.

    Only its owner may read the file, and it is on the disk when this returns. Raises BackupError
    when something is there already, or when it can't be written: nothing is left then.
    """
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    text = (
        f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n# public key: {public}\n{identity}\n"
    )
    try:
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True, mode=0o700)
        _write_once(file, text)
    except FileExistsError:
        raise BackupError(
            f"{file} is there already. Nothing was written over it: it may be the only key of "
            "earlier backups. Choose another --output."
        ) from None
    except OSError as error:
        raise BackupError(
            f"{file} can't be written: {error.strerror}. No key was made. Choose another --output."
        ) from None
    return public


def public_keys(file: Path) -> list[str]:
    """Return the public keys of an identity file. Raises BackupError when it is none."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        secret = [line for line in lines if line and not line.startswith("#")]
        return [str(pyrage.x25519.Identity.from_str(line).to_public()) for line in secret]
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"The identity file {file} can't be read: {error}.") from None
    except pyrage.IdentityError:
        raise BackupError(f"{file} is no age identity file. Nothing was done.") from None


def is_public_key(text: str) -> bool:
    """Tell whether backups can be encrypted to this: an age recipient (age1…)."""
    try:
        pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        return False
    return True


def is_secret(text: str) -> bool:
    """Tell whether this is, or begins like, an age identity: no message may repeat it."""
    return "AGE-SECRET-KEY-" in text.upper()


def _write_once(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}.aside")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        # A link, unlike a rename, never takes the place of what is there.
        file.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)
