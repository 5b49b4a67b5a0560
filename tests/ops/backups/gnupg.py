"""A GPG keyring of a test's own, whose agent ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECIPIENT = "backups@example.com"


@contextmanager
def gnupg_home(recipient: str = RECIPIENT) -> Iterator[tuple[Path, str]]:
    """Yield a keyring's folder and the recipient in it; the key has no passphrase."""
    # The agent's socket is in it, and a socket's path may have 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="g-", dir="/tmp"))
    environment = {**os.environ, "GNUPGHOME": str(home)}
    gpg, gpgconf = shutil.which("gpg"), shutil.which("gpgconf")
    assert gpg
    assert gpgconf
    try:
        subprocess.run(
            [gpg, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "",
             "--quick-generate-key", recipient, "default", "default", "never"],
            env=environment, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        yield home, recipient
    finally:
        subprocess.run([gpgconf, "--kill", "all"], env=environment, check=False, timeout=30)
        shutil.rmtree(home, ignore_errors=True)


def import_public_keys(source: Path, into: Path) -> None:
    """Put the public keys of a keyring into another one."""
    gpg = shutil.which("gpg")
    assert gpg
    exported = subprocess.run(
        [gpg, "--homedir", str(source), "--batch", "--export"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    subprocess.run(
        [gpg, "--homedir", str(into), "--batch", "--quiet", "--import"],
        input=exported.stdout, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
