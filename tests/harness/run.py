"""One test run: its folder, who it belongs to, and what killed runs left behind.

The process that starts pytest owns the folder and holds a lock in it; xdist's workers find it in
their environment. A folder whose lock is free belongs to nobody any more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

import psutil

from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer

VARIABLE = "SRVC_TEST_RUN"
ADMIN_URL = "SRVC_TEST_ADMIN_URL"
_PREFIX = "srvc-test-"
# A database of 1,200 files is copied there in a thirtieth of the time, and most tests want one.
_MEMORY = Path("/dev/shm")  # noqa: S108 (for tests; a folder of our own in it)
_ROOM = 6 << 30  # bytes; a run takes 2 GB at most
# Signing in costs 3 ms instead of 8, and tests do so all the time.
SETTINGS = {**configuration.THROW_AWAY, "scram_iterations": "1"}
_held: list[IO[str]] = []


def folder() -> Path:
    """Return this run's folder, made by the first process that asks; temporary files go there."""
    if VARIABLE not in os.environ:
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY if _memory_fits() else None))
        made.chmod(0o711)  # started by root, the server runs as a user who must pass through
        _hold(made)
        os.environ[VARIABLE] = str(made)
        temporary = made / "tmp"
        temporary.mkdir()
        temporary.chmod(0o1777)
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = None  # asked for anew
    return Path(os.environ[VARIABLE])


def name() -> str:
    """Return what this run's databases are called by."""
    return "srvc_test_" + folder().name.removeprefix(_PREFIX).lower()


def is_mine() -> bool:
    """Tell whether this process made the run's folder, and so has to remove it."""
    return bool(_held)


def server() -> EmbeddedServer:
    """Return this run's throw-away server, running or not."""
    return _server_in(folder())


def clean_up() -> None:
    """Stop this run's server and remove its folder."""
    if is_mine():
        _remove(folder())
        _held.pop().close()


def remove_stale_runs() -> None:
    """Remove the servers and folders of runs that were killed."""
    for old in (*_MEMORY.glob(f"{_PREFIX}*"), *folder().parent.glob(f"{_PREFIX}*")):
        if old == folder() or not (old / "owner.lock").exists():
            continue
        with contextlib.suppress(OSError), (old / "owner.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: that run is alive
            _remove(old)


def _memory_fits() -> bool:
    """Whether memory serves as a disk here: large enough, and programs may be run from it."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return False
    found = os.statvfs(_MEMORY)
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return free >= _ROOM and not found.f_flag & os.ST_NOEXEC


def _server_in(run: Path) -> EmbeddedServer:
    return EmbeddedServer(run / "postgres", settings=SETTINGS)


def _hold(run: Path) -> None:
    file = (run / "owner.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    _held.append(file)


def _remove(run: Path) -> None:
    _server_in(run).destroy()
    shutil.rmtree(run, ignore_errors=True)
