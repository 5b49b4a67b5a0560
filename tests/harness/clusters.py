"""Data directories of private servers, made once by each process and copied from then on.

initdb takes half a second of a processor and makes the same each time. Only for servers that are
thrown away with what was restored into them (ops/backups/scratch.py): tests that look at data
directories themselves make real ones.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ops.backups import scratch
from ops.postgres import cluster, files
from ops.postgres.account import Account
from tests.harness import run

Make = Callable[[Path, Path, Account | None, Mapping[str, str]], None]


@contextmanager
def copied() -> Iterator[None]:
    """Copy the data directory of each private server of this process."""
    with mock.patch.object(cluster, "_initdb", _copying(cluster._initdb)):
        yield


def _copying(make: Make) -> Make:
    made: dict[Account | None, Path] = {}

    def copy(
        folder: Path, programs: Path, account: Account | None, settings: Mapping[str, str]
    ) -> None:
        if settings is not scratch._SETTINGS:
            make(folder, programs, account, settings)
            return
        if account not in made:
            outer = Path(tempfile.mkdtemp(prefix="initdb", dir=run.folder()))
            outer.chmod(0o711)  # started by root, initdb runs as a user who must pass through
            original = outer / "postgres"
            files.make_folder(original, account)
            make(original, programs, account, settings)
            made[account] = original
        _copy(made[account], folder)

    return copy


def _copy(original: Path, folder: Path) -> None:
    # A thousand files: a program copies them in half the time, and with their owners.
    subprocess.run(["cp", "-a", f"{original}/.", folder], check=True)  # noqa: S607 (as everywhere)
