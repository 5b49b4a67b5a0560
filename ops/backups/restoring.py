"""Some sections of a dump, streamed into a scratch server by its superuser.

For rows that somebody else made (ops/restores/files): a backup is restored by `dump_restore`.
"""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from ops.backups.dump_restore.errors import LACKING
from ops.backups.dumpreading import made_by, restore_program
from ops.backups.errors import BackupError, CannotProveError, DisprovenError
from ops.backups.manifest import Manifest
from ops.backups.receiving import receive_from
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess
from ops.progress import Progress

FINISH = 24 * 3600.0  # seconds that indexes may take once the rows are in
SECTIONS = ("pre-data", "data", "post-data")
_LABELS = dict(zip(SECTIONS, ("definitions", "rows", "indexes and constraints"), strict=True))


def restore_section(
    server: Scratch,
    database: str,
    manifest: Manifest,
    vault: Vault,
    section: str,
    progress: Progress,
) -> None:
    """Restore one of pg_restore's sections of a dump.

    Raises DisprovenError, CannotProveError, and what receive() raises.
    """
    address = {key: str(value) for key, value in server.server.connection.items()}
    address["dbname"] = database
    progress.phase(f"restoring {_LABELS[section]}", manifest.archive.size, "bytes")
    errors: list[str] = []  # what comes behind them is their detail, and the whole statement

    def listen(line: str) -> None:
        if line.startswith("pg_restore: error: "):
            errors.append(line.removeprefix("pg_restore: error: "))

    with (
        WritingProcess(
            restore_program(made_by(manifest)),
            f"--dbname={make_conninfo(**address)}",
            "--exit-on-error",
            "--no-password",
            f"--section={section}",
            environment=tools.environment(),
            on_line=listen,
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        receive_from(vault, manifest.archive, _Pipe(process), progress)
        progress.phase("building indexes and constraints")
        try:
            process.finish(FINISH)
        except ToolError as error:
            progress.check()
            raise _told(manifest, errors[0] if errors else str(error)) from None


class _Pipe:
    """pg_restore's input; when it died, the rest of the object is still read and hashed."""

    def __init__(self, process: WritingProcess) -> None:
        self._process = process
        self._broken = False

    def write(self, data: bytes) -> None:
        if not self._broken:
            try:
                self._process.stdin.write(data)
            except (BrokenPipeError, ValueError):
                self._broken = True


def _told(manifest: Manifest, error: str) -> BackupError:
    if LACKING.search(error):
        return CannotProveError(f"{manifest.name} could not be proven here: {error}.")
    return DisprovenError(f"{manifest.name} can't be restored: {error}.")
