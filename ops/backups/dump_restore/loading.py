"""pg_restore, as the restore procedure runs it: several sessions, the first error ends it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ops.backups.dump_restore.contents import Contents, Step
from ops.backups.dump_restore.errors import LoadError
from ops.backups.watch import watched
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress

_FINISH = 7 * 24 * 3600.0  # seconds
_FINISHED = re.compile(r"^pg_restore: (?:finished item|finished main)")
_ERROR = "pg_restore: error: "
# What pg_restore was at when it failed: the numbers are of no use to anybody.
_ENTRY = re.compile(r"^pg_restore: from TOC entry \d+; \d+ \d+ (?P<what>.*)$")
# What every login may set. Nobody else reads the database before it is whole, and the rows are
# compared before anybody does.
_FAST = {
    "synchronous_commit": "off",
    "maintenance_work_mem": "256MB",
    "max_parallel_maintenance_workers": "2",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}
_PHASES = {
    (Step.SCHEMAS, Step.DEFINITIONS): "restoring definitions",
    (Step.SCHEMAS,): "restoring schemas",
    (Step.DEFINITIONS,): "restoring definitions",
    (Step.ROWS,): "restoring rows",
    (Step.INDEXES,): "building indexes and constraints",
    (Step.PRIVILEGES,): "restoring privileges",
}


def load(
    contents: Contents,
    steps: Sequence[Step],
    place: Endpoint,
    progress: Progress,
    *,
    jobs: int,
) -> None:
    """Restore what some steps bring into a database. Raises LoadError, which names the object."""
    wanted, count = contents.use_list(steps)
    if not count:
        return
    progress.phase(_PHASES.get(tuple(steps), "restoring"), count, "objects")
    said = _Said()

    def listen(line: str) -> None:
        said.take(line)
        if _FINISHED.match(line):
            progress.advance(1)

    with (
        StreamingProcess(
            place.program("pg_restore"),
            *place.arguments(),
            "--no-password",
            "--exit-on-error",
            "--verbose",
            f"--jobs={max(jobs, 1)}",
            f"--use-list={wanted}",
            str(contents.file),
            environment={**place.environment(), "PGOPTIONS": _options()},
            on_line=listen,
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        try:
            process.finish(_FINISH)
        except ToolError as error:
            progress.check()
            raise said.error(str(error)) from None


class _Said:
    """What pg_restore said went wrong: the first error, and the entry it was at."""

    def __init__(self) -> None:
        self._entry, self._error, self._named, self._servers = "", "", "", ""

    def take(self, line: str) -> None:
        if entry := _ENTRY.match(line):
            self._entry = entry["what"].strip()
        elif line.startswith(_ERROR) and not self._error:
            self._error = line.removeprefix(_ERROR)
            # An error of its own, such as a lost connection, is of no entry.
            self._named, self._entry = self._entry, ""
        # An error is written in two parts, and another session's line may come between them.
        if not self._servers:
            self._servers = line.partition("ERROR:  ")[2]

    def error(self, otherwise: str) -> LoadError:
        # The statement's own error says it all; what came before is pg_restore's.
        return LoadError(self._servers or self._error or otherwise, what=self._named)


def _options() -> str:
    return " ".join(f"-c {name}={value}" for name, value in _FAST.items())
