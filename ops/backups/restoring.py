"""A dump on its way into a scratch server."""

from __future__ import annotations

import re

from psycopg.conninfo import make_conninfo

from ops.backups.dumpreading import made_by, restore_program
from ops.backups.errors import (
    BackupError,
    CannotProveError,
    DamagedError,
    DisprovenError,
    KeyMissingError,
    MissingObjectError,
)
from ops.backups.inspection import receive_from
from ops.backups.manifest import Manifest
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.models import BackupKind
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess
from ops.progress import Progress

FINISH = 24 * 3600.0  # seconds that indexes may take once the rows are in
SECTIONS = ("pre-data", "data", "post-data")
# What pg_restore says when it is this machine that lacks something, not the backup.
LACKING = re.compile(
    r"extension .* is not available|extension control file|could not access file|tablespace .* does"
    r" not exist|No space left on device|ICU is not supported|could not create locale|collation .*"
    r" for encoding|shared_preload_libraries|terminat|server closed the connection|could not resize"
    r" shared memory|out of (?:shared )?memory"
)


def fill(
    server: Scratch,
    database: str,
    manifest: Manifest,
    vault: Vault,
    schema: tuple[Manifest, Vault] | None,
    progress: Progress,
) -> None:
    """Restore a dump into an empty database; rows alone into the schema of another backup.

    Raises DisprovenError, CannotProveError, and what receive() raises.
    """
    if schema is None:
        restore_sections(server, database, manifest, vault, SECTIONS, progress)
        return
    # Rows come between, so that no trigger and no key is there yet to object to their order.
    try:
        restore_sections(server, database, *schema, SECTIONS[:1], progress)
    except (DamagedError, KeyMissingError, MissingObjectError) as error:
        raise _no_schema(schema[0], error) from None
    restore_sections(server, database, manifest, vault, SECTIONS[1:2], progress)
    if manifest.kind == BackupKind.TABLES:
        return  # keys to tables that are not in it would find nobody
    try:
        restore_sections(server, database, *schema, SECTIONS[2:], progress)
    except DisprovenError as error:
        raise DisprovenError(
            f"The rows of {manifest.name} don't fit their definitions: {error}"
        ) from None
    except (DamagedError, KeyMissingError, MissingObjectError) as error:
        raise _no_schema(schema[0], error) from None


def _no_schema(schema: Manifest, error: Exception) -> CannotProveError:
    return CannotProveError(
        f"It could not be proven: the schema it needs could not be restored from {schema.name}. "
        f"{error}"
    )


def restore_sections(
    server: Scratch,
    database: str,
    manifest: Manifest,
    vault: Vault,
    sections: tuple[str, ...],
    progress: Progress,
) -> None:
    """Restore some of pg_restore's sections of a dump. Raises as `fill` does."""
    address = {key: str(value) for key, value in server.server.connection.items()}
    address["dbname"] = database
    progress.phase(f"restoring {_LABELS[sections]}", manifest.archive.size, "bytes")
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
            *(f"--section={section}" for section in sections),
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


_LABELS = {
    SECTIONS: "everything",
    SECTIONS[:1]: "definitions",
    SECTIONS[1:2]: "rows",
    SECTIONS[2:]: "indexes and constraints",
}


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
