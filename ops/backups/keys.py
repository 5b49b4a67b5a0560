"""Whom backups are encrypted to, and what here can open them.

The public half (a recipient) is all that making backups takes. The secret half (an identity) opens
them, and belongs on another machine as well: a backup whose only key burnt with the server is gone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage
from django.conf import settings

from ops.backups.errors import BackupError, KeyMissingError
from ops.backups.keymaking import is_secret


@dataclass(frozen=True)
class Encryption:
    """How a new backup is encrypted, and to whom."""

    kind: str  # age, gpg, none
    recipients: tuple[str, ...] = ()


def encryption(*, wanted: bool = True) -> Encryption:
    """Return how backups are encrypted here.

    Raises BackupError when they should be and no recipient is set, and outside development also
    when they should not be.
    """
    if not wanted:
        if settings.PRODUCTION_LIKE:
            raise BackupError(
                f"Backups of {settings.ENVIRONMENT} are always encrypted. Nothing was taken. Leave "
                "--no-encrypt away."
            )
        return Encryption("none")
    if settings.BACKUP_AGE_RECIPIENTS:
        for recipient in settings.BACKUP_AGE_RECIPIENTS:
            age_recipient(recipient)
        return Encryption("age", tuple(settings.BACKUP_AGE_RECIPIENTS))
    if gpg := getattr(settings, "DBBACKUP_GPG_RECIPIENT", None):
        return Encryption("gpg", (gpg,) if isinstance(gpg, str) else tuple(gpg))
    if settings.PRODUCTION_LIKE:
        raise BackupError(
            f"{settings.ENVIRONMENT} has no key to encrypt its backups to. Nothing was taken. Run "
            f"`manage.py backupkeys {settings.ENVIRONMENT} --new`, keep what it makes away from "
            "this server, and set BACKUP_AGE_RECIPIENTS."
        )
    return Encryption("none")


def age_recipient(text: str) -> Any:
    """Return an age recipient from its public key. Raises BackupError."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        shown = "A secret key" if is_secret(text) else repr(text)
        raise BackupError(
            f"{shown} in BACKUP_AGE_RECIPIENTS is no age recipient (age1…). Nothing was taken. "
            "`manage.py backupkeys` shows the right ones."
        ) from None


def age_identities() -> list[Any]:
    """Return the identities readable here. Raises BackupError for a file that is none."""
    return [identity for file in identity_files() for identity in _identities(file)]


def identity_files() -> list[Path]:
    """Return the identity files that are here; the others are elsewhere, and that is the idea."""
    # os.path, because pathlib fails on a folder that may not be entered.
    return [Path(name) for name in settings.BACKUP_AGE_IDENTITY_FILES if os.path.isfile(name)]  # noqa: PTH113


def signing_keys() -> list[str]:
    """Return the keys manifests are signed with: today's first, then former ones.

    Raises BackupError when there is none.
    """
    keys = [settings.BACKUP_SIGNING_KEY, *settings.BACKUP_SIGNING_KEY_FALLBACKS]
    if not keys[0]:
        raise BackupError(
            "BACKUP_SIGNING_KEY is not set, so no manifest could be trusted. Nothing was done. Set "
            "it to a long random value, and keep a copy with the backups' identity."
        )
    return keys


def require_identities(recipients: list[str]) -> list[Any]:
    """Return the identities to try on something encrypted to these recipients.

    Raises KeyMissingError when none of them is here.
    """
    found = age_identities()
    public = {str(identity.to_public()) for identity in found}
    if not public & set(recipients):
        raise KeyMissingError(
            f"It is encrypted to {' and '.join(recipients) or 'somebody'}, and no identity for "
            "that is here, so nothing can be said about what is inside. Name the identity's file "
            "in BACKUP_AGE_IDENTITY_FILES, on a machine that may have it."
        )
    return found


def _identities(file: Path) -> list[Any]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"The identity file {file} can't be read: {error}.") from None
    try:
        return [
            pyrage.x25519.Identity.from_str(line.strip())
            for line in lines
            if line.strip() and not line.startswith("#")
        ]
    except pyrage.IdentityError:
        raise BackupError(
            f"{file} is no age identity file. Nothing was done. Correct BACKUP_AGE_IDENTITY_FILES."
        ) from None


def gpg_program() -> str:
    """Return where gpg is. Raises BackupError when it is not installed."""
    found = shutil.which("gpg")
    if found is None:
        raise BackupError(
            "gpg is not installed, so GPG's backups can be neither made nor opened here. Nothing "
            "was done. Install it (Debian: apt-get install gnupg) and run this again."
        )
    return found


def has_gpg_secret(key: str) -> bool:
    """Tell whether the secret half of a GPG recipient's key is in the keyring here."""
    try:
        program = gpg_program()
    except BackupError:
        return False
    done = subprocess.run(
        [program, "--batch", "--no-tty", "--quiet", "--list-secret-keys", "--", key],
        capture_output=True,
        env=gpg_environment(),
        timeout=60,
        check=False,
    )
    return done.returncode == 0


def opens_nothing_here(encryption: str, recipients: Sequence[str]) -> bool:
    """Tell whether a machine is set up so that it can't open what is encrypted, as servers may be.

    With age that is said by naming no identity. A GPG keyring says it by lacking the secret keys.
    """
    if encryption == "age":
        return not settings.BACKUP_AGE_IDENTITY_FILES
    return encryption == "gpg" and not any(map(has_gpg_secret, recipients))


def gpg_always_trusts() -> bool:
    """Return django-dbbackup's setting for keys that nobody signed."""
    return bool(getattr(settings, "DBBACKUP_GPG_ALWAYS_TRUST", False))


def gpg_environment() -> dict[str, str]:
    """Return what gpg needs to find its keyring."""
    passed = ("HOME", "GNUPGHOME", "PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in passed if name in os.environ}}
