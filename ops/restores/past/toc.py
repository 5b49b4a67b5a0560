"""What is in a dump, by the table of contents that it begins with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from ops.backups.dumpreading import made_by, restore_program
from ops.backups.errors import DisprovenError
from ops.backups.manifest import Manifest
from ops.backups.receiving import receive_from
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import WritingProcess
from ops.progress import Progress

ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<what>.*)$")
_FINISH = 600.0  # seconds that a program may take once it has what it wants
# Not needed to read rows, and on a private server there is nobody to log in with a password.
_LEFT_OUT = ("USER MAPPING ", "SUBSCRIPTION ", "EVENT TRIGGER ")


class _EnoughError(Exception):
    """The programs have read what they wanted to."""


class _Feeding:
    """Feeds several programs; when none of them reads any more, there is no point in going on."""

    def __init__(self, programs: Sequence[WritingProcess]) -> None:
        self._programs = list(programs)

    def write(self, data: bytes) -> None:
        for program in list(self._programs):
            try:
                program.stdin.write(data)
            except (BrokenPipeError, ValueError):
                self._programs.remove(program)
        if not self._programs:
            raise _EnoughError


def contents(source: tuple[Manifest, Vault], progress: Progress) -> tuple[list[str], list[str]]:
    """Return the lines of a dump's table of contents: of definitions and of rows.

    Only the beginning of the object is read, and nothing is believed yet.
    """
    manifest, vault = source
    program = restore_program(made_by(manifest))
    lines: dict[str, list[str]] = {"pre-data": [], "data": []}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                WritingProcess(
                    program,
                    "--list",
                    f"--section={section}",
                    environment=tools.environment(),
                    on_output=found.append,
                )
            )
            for section, found in lines.items()
        ]
        watch = stack.enter_context(watched(progress.check))
        for each in programs:
            watch.stop_by(each.kill)
        with suppress(_EnoughError):
            receive_from(vault, manifest.archive, _Feeding(programs), progress)
        for each in programs:
            try:
                each.finish(_FINISH)
            except ToolError as error:
                progress.check()
                raise DisprovenError(f"{manifest.name} can't be restored: {error}") from None
    definitions = [
        line
        for line in lines["pre-data"]
        if (entry := ENTRY.match(line)) and not entry["what"].startswith(_LEFT_OUT)
    ]
    return definitions, [line for line in lines["data"] if ENTRY.match(line)]
