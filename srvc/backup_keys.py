"""Keys that backups are encrypted to, opened with and signed by, as the environment gives them.

No message repeats a value: what was pasted into the wrong variable may be the secret half.
"""

from __future__ import annotations

from pathlib import Path

from ops.backups.errors import BackupError
from ops.backups.keymaking import is_public_key, is_secret, public_keys
from srvc.configuration import Configuration

RECIPIENTS, IDENTITY_FILES = "BACKUP_AGE_RECIPIENTS", "BACKUP_AGE_IDENTITY_FILES"
SIGNING_KEY, FORMER_SIGNING_KEYS = "BACKUP_SIGNING_KEY", "BACKUP_SIGNING_KEY_FALLBACKS"


def recipients(read: Configuration) -> list[str]:
    """Return the public keys that backups are encrypted to."""
    found = read.items(RECIPIENTS)
    if any(is_secret(each) for each in found):
        read.report(
            "unsafe",
            RECIPIENTS,
            "holds a secret key: whoever reads this environment can open every backup",
            f"Set {RECIPIENTS} to the public key (age1…) and keep the secret one elsewhere; make "
            "a new one if others could have read it: manage.py backupkeys ENVIRONMENT --new.",
        )
        return []
    if wrong := [number for number, each in enumerate(found, start=1) if not is_public_key(each)]:
        which = f"entry {wrong[0]} of {len(found)}" if len(found) > 1 else "its value"
        read.report(
            "invalid",
            RECIPIENTS,
            f"holds something that is no age key ({which}), so no backup could be taken",
            f"Set {RECIPIENTS} to public keys (age1…, separated by commas) exactly as "
            "manage.py backupkeys shows them.",
        )
        return []
    return found


def identity_files(read: Configuration) -> list[str]:
    """Return the files with the secret halves; that one is not on this machine is no mistake."""
    found = read.items(IDENTITY_FILES)
    fix = f"Set {IDENTITY_FILES} to absolute paths of identity files, separated by commas."
    if any(is_secret(each) for each in found):
        wrong = "holds a secret key and not the name of a file with one"
        read.report("unsafe", IDENTITY_FILES, wrong, fix)
        return []
    if not all(each.startswith("/") for each in found):
        wrong = "holds something that is no absolute path: other folders would find another file"
        read.report("invalid", IDENTITY_FILES, wrong, fix)
        return []
    for each in found:
        if _is_no_identity(Path(each)):
            wrong = "names a file that holds no age identity (AGE-SECRET-KEY-1…)"
            read.report("invalid", IDENTITY_FILES, wrong, fix)
            return []
    return found


def signing_keys(read: Configuration, *, strict: bool, secret_key: str) -> tuple[str, list[str]]:
    """Return the key that manifests are signed with, and former ones."""
    key, former = read.text(SIGNING_KEY), read.items(FORMER_SIGNING_KEYS)
    if not strict:
        return key, former
    if key:
        read.refuse_weak_key(SIGNING_KEY, key)
    for each in former:
        read.refuse_weak_key(FORMER_SIGNING_KEYS, each)
    if key and key == secret_key:
        read.report(
            "unsafe",
            SIGNING_KEY,
            "is the same as SECRET_KEY: it is kept with the backups, and would sign sessions there",
            f"Set {SIGNING_KEY} to a random value of its own: python3 -c 'import secrets; "
            "print(secrets.token_urlsafe(64))' prints one.",
        )
    return key, former


def _is_no_identity(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        file.read_bytes()
    except OSError:
        return False  # closed to this login, which may be meant so
    try:
        return not public_keys(file)
    except BackupError:
        return True
