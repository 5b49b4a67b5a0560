"""Unpacked files become a data directory that a scratch server can start on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ops.backups.errors import DisprovenError
from ops.backups.manifest import Manifest
from ops.backups.unpacking import Unpacked, run
from ops.postgres import configuration, files, tools
from ops.postgres.account import Account
from ops.postgres.errors import ToolError
from ops.postgres.places import server_home
from ops.progress import Progress

# Of the server that was copied, and in the way of the one that starts here.
_LEFT_BY_ITS_SERVER = (
    "postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal", "srvc.conf",
    "postgresql.auto.conf",
)  # fmt: skip


def combine(manifest: Manifest, found: Unpacked, progress: Progress) -> Path:
    """Put the whole into the place of the scratch server's data and return that.

    Raises DisprovenError when the links don't fit together.
    """
    home = server_home(found.place.data)
    files.make_parents(home.parent)
    progress.phase("combining" if len(found.links) > 1 else "preparing")
    if len(found.links) == 1:
        shutil.move(found.links[0], home)
        return home
    program = tools.find("pg_combinebackup", int(manifest.server["major"]))
    try:
        run(program, *map(str, found.links), f"--output={home}", "--no-sync", progress=progress)
    except ToolError as error:
        raise DisprovenError(f"The chain of {manifest.name} can't be combined: {error}") from None
    return home


def make_ready(home: Path, account: Account | None) -> None:
    """Leave the data, and replace what said how the server that was copied is run."""
    for name in _LEFT_BY_ITS_SERVER:
        (home / name).unlink(missing_ok=True)
    for name, text in {
        "postgresql.conf": "include 'srvc.conf'\n",
        "pg_hba.conf": configuration.access(configuration.ACCESS),
    }.items():
        files.write_aside(home / name, text, account)
    home.chmod(0o700)
    if account is not None:
        # WAL that the server can't read would be passed over without a word.
        for folder, folders, names in os.walk(home):
            for name in (".", *folders, *names):
                os.chown(Path(folder) / name, account.uid, account.gid, follow_symlinks=False)
