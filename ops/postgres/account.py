"""Whom the embedded server runs as.

PostgreSQL refuses root. Started by an ordinary user it runs as that user; started by root it runs
as the owner of the existing data, else as `postgres` where that user exists, else as a system user
`srvc` made for it. No folder that is not ours is ever opened for that user.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.postgres.errors import ServerError

CREATED_USER = "srvc"
SUITABLE_USERS = ("postgres", CREATED_USER)


@dataclass(frozen=True)
class Account:
    """An operating system user other than the one running this process."""

    name: str
    uid: int
    gid: int

    def subprocess_options(self) -> dict[str, Any]:
        """Return what makes `subprocess` start a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "umask": 0o077}

    def may_run(self, program: Path) -> bool:
        """Tell whether this user can reach and start the program, by trying."""
        try:
            done = subprocess.run(
                [program, "--version"],
                capture_output=True,
                timeout=30,
                cwd="/",
                check=False,
                **self.subprocess_options(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def server_account(home: Path) -> Account | None:
    """Return the user to run the server of this data folder as; None means as ourselves."""
    if os.geteuid() != 0:
        return None
    if home.exists() and (owner := home.stat().st_uid) != 0:
        return _account(_entry(owner))
    for name in SUITABLE_USERS:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    return _create()


def current_user() -> str:
    """Return the name of the user running this process."""
    return _entry(os.geteuid()).pw_name


def _create() -> Account:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise ServerError(
            "PostgreSQL refuses to run as root, and there is neither a user to run it as nor "
            "`useradd` to make one. Nothing was changed. Run this as an ordinary user."
        )
    done = subprocess.run(
        [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", CREATED_USER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    try:
        return _account(pwd.getpwnam(CREATED_USER))  # two runs at once: the other one made it
    except KeyError:
        raise ServerError(
            f"PostgreSQL refuses to run as root, and the system user {CREATED_USER} could not be "
            f"made: {done.stderr.strip()}. Nothing was changed. Run this as an ordinary user."
        ) from None


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise ServerError(
            f"User id {uid} has no name on this machine, and PostgreSQL refuses such users. "
            "Nothing was changed. Add a line for it to /etc/passwd or run as another user."
        ) from None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
