"""A dump's table of contents, cut into the steps of the restore procedure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ops.postgres import tools


class Step(StrEnum):
    """One run of pg_restore, by what it brings."""

    SCHEMAS = "schemas"
    DEFINITIONS = "definitions"
    ROWS = "rows"
    INDEXES = "indexes and constraints"
    PRIVILEGES = "privileges"


# Rows before anything that acts on rows: pg_restore with several sessions makes a row trigger of a
# partitioned table before its partitions are loaded. Privileges come last, as in a single run of
# pg_restore: an owner without INSERT on its own table could not load it.
STEPS = (Step.SCHEMAS, Step.DEFINITIONS, Step.ROWS, Step.INDEXES, Step.PRIVILEGES)

_SECTIONS = {
    "pre-data": Step.DEFINITIONS,
    "data": Step.ROWS,
    "post-data": Step.INDEXES,
}
_ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<what>.*)$")
# The procedure makes extensions itself, and the schema public is in every database. A subscription
# is left out: restored beside, it would compete for the slot of the one that is in use.
_MADE_OTHERWISE = re.compile(
    r"(?:EXTENSION|COMMENT - EXTENSION|SCHEMA - public|SUBSCRIPTION|COMMENT - SUBSCRIPTION"
    r"|SUBSCRIPTION TABLE|SECURITY LABEL - SUBSCRIPTION) "
)
# As pg_restore has it (RESTORE_PASS_ACL, RESTORE_PASS_POST_ACL).
_LAST = re.compile(
    r"(?:ACL|DEFAULT ACL|MATERIALIZED VIEW DATA|EVENT TRIGGER|COMMENT - EVENT TRIGGER"
    r"|SECURITY LABEL - EVENT TRIGGER) "
)
_EXTENSION = re.compile(
    r"^CREATE EXTENSION IF NOT EXISTS (?P<name>\"(?:[^\"]|\"\")+\"|\S+)"
    r" WITH SCHEMA (?P<schema>\"(?:[^\"]|\"\")+\"|[^\s;]+);$",
    re.MULTILINE,
)
_PUBLIC = re.compile(r"SCHEMA - public (?P<owner>.*)")
_LISTING = tools.MINUTE * 10


@dataclass(frozen=True)
class Contents:
    """What a dump brings, by the step that brings it."""

    file: Path
    lines: dict[Step, list[str]]  # of `pg_restore --list`
    extensions: dict[str, str]  # the schema of each
    public_owner: str  # of the schema public, where the dump names one

    def use_list(self, steps: Sequence[Step]) -> tuple[Path, int]:
        """Write beside the dump what of it these steps restore; return that file, and how much."""
        lines = [line for step in steps for line in self.lines[step]]
        wanted = self.file.with_name(f"{self.file.name}.{'+'.join(each.name for each in steps)}")
        wanted.write_text("".join(f"{line}\n" for line in lines))
        return wanted, len(lines)


def contents_of(program: Path, file: Path) -> Contents:
    """Read a dump's table of contents. Raises ToolError."""
    lines: dict[Step, list[str]] = {step: [] for step in Step}
    extensions: dict[str, str] = {}
    public_owner = ""
    for section, step in _SECTIONS.items():
        for line, what in _entries(program, file, section):
            if what.startswith("EXTENSION ") and not extensions:
                extensions = _extensions(program, file)
            if public := _PUBLIC.match(what):
                public_owner = public["owner"]
            if not _MADE_OTHERWISE.match(what):
                lines[_step(what, step)].append(line)
    return Contents(file, lines, extensions, public_owner)


def _step(what: str, of_section: Step) -> Step:
    if _LAST.match(what):
        return Step.PRIVILEGES
    return Step.SCHEMAS if what.startswith("SCHEMA - ") else of_section


def _entries(program: Path, file: Path, section: str) -> Iterator[tuple[str, str]]:
    listed = tools.run(
        program, "--list", f"--section={section}", str(file), seconds=_LISTING
    ).stdout
    for line in listed.splitlines():
        if entry := _ENTRY.match(line):
            yield line, entry["what"]


def _extensions(program: Path, file: Path) -> dict[str, str]:
    """Return the schema that the dump's own statements name for each extension."""
    listed = file.with_name(f"{file.name}.extensions")
    entries = _entries(program, file, "pre-data")
    listed.write_text(
        "".join(f"{line}\n" for line, what in entries if what.startswith("EXTENSION "))
    )
    script = tools.run(
        program, f"--use-list={listed}", "--file=-", str(file), seconds=_LISTING
    ).stdout
    listed.unlink()
    return {
        _unquoted(each["name"]): _unquoted(each["schema"]) for each in _EXTENSION.finditer(script)
    }


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
