"""Files and folders of the embedded server, made for the user that runs it."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.postgres.account import Account
from ops.postgres.errors import ServerError


def make_folder(folder: Path, account: Account | None) -> None:
    """Make a private folder owned by the server's user, or accept the one that is there.

    Below /tmp anybody could have made it first, so a stranger's folder or a link is refused.
    """
    make_parents(folder.parent)
    wanted = account.uid if account else os.geteuid()
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {wanted, os.geteuid()}:
            raise ServerError(
                f"{folder} is not a folder of the user that runs PostgreSQL. Nothing was changed. "
                "Remove it if it is not yours to keep, and run this again."
            ) from None
    folder.chmod(0o700)
    if account:
        os.chown(folder, account.uid, account.gid)


def write_aside(path: Path, text: str, account: Account | None) -> None:
    """Write a private file aside, flush it, rename it into place and flush the folder."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        if account:
            os.fchown(file.fileno(), account.uid, account.gid)
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk: a new name in it survives a power cut only then (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that dies with the process, so that two starts do not race."""
    make_parents(path.parent)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_parents(folder: Path) -> None:
    """Make missing parents passable whatever the umask: the server's user walks through them."""
    if folder.is_dir():
        return
    make_parents(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
