"""The names in an environment's file, compared with those that SRVC reads.

A misspelt name changes nothing, and nobody notices: with `BACKUP_STORGE=` backups land in the
default folder. `.env.example` names every variable there is, and a test keeps it so.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from srvc import environment
from srvc.configuration import Configuration

_EXAMPLE = environment.BASE_DIR / ".env.example"
_NAMED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
_ASSIGNED = re.compile(r"(?:export )?([A-Za-z_][A-Za-z_0-9]*)=")
# A name and nothing else: a line of a key that was pasted may look like an assignment.
_SHOWN = re.compile(r"[A-Z][A-Z0-9_]{2,40}")
# What other programs of the same process read from the same file.
_FOREIGN = re.compile(
    r"(?:PYTHON|PG|AWS_|LC_|GUNICORN_|DJANGO_|SSL_|REQUESTS_|MALLOC_|OTEL_)[A-Z0-9_]+"
    r"|(?:LANG|LANGUAGE|TZ|PATH|HOME|TMPDIR|USER|LOGNAME|SHELL)|(?i:(?:https?|no|all)_proxy)"
)
_NEAR, _VERY_NEAR = 0.8, 0.88
_SHORT = 8  # letters; of shorter names too many others are neighbours


@dataclass(frozen=True)
class Unknown:
    """A name that SRVC does not read; `meant` is the one that it resembles, if any."""

    name: str
    meant: str
    line: int = 0

    @property
    def label(self) -> str:
        """The name, or its line where the name may be a piece of a secret."""
        return self.name if _SHOWN.fullmatch(self.name) else f"the name on line {self.line}"


@cache
def known_names() -> frozenset[str]:
    """Return every variable that SRVC reads; none in an installation without .env.example."""
    try:
        return frozenset(_NAMED.findall(_EXAMPLE.read_text(encoding="utf-8")))
    except OSError:
        return frozenset()


def unknown_in(file: Path) -> list[Unknown]:
    """Return the names in a file that SRVC does not read, in their order."""
    known = known_names()
    return [
        Unknown(name, _nearest(name, _NEAR), line)
        for name, line in assigned_in(file).items()
        if known and name not in known and not _FOREIGN.fullmatch(name)
    ]


def unknown_in_process() -> list[Unknown]:
    """Return the names of the process's own variables that nearly are one of SRVC's."""
    in_file = assigned_in(environment.environment_file(_environment()))
    found = [
        Unknown(name, _nearest(name, _VERY_NEAR))
        for name in sorted(os.environ)
        if name not in known_names() and name not in in_file and len(name) >= _SHORT
    ]
    return [each for each in found if len(each.meant) >= _SHORT]


def is_in_file(name: str) -> bool:
    """Tell whether the environment's file assigns a variable."""
    return name in assigned_in(environment.environment_file(_environment()))


def assigned_in(file: Path) -> dict[str, int]:
    """Return the names that a file assigns, each with its (last) line; none of an unusable file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, UnicodeDecodeError):
        return {}  # told by environment.load
    matches = ((_ASSIGNED.match(line), number) for number, line in enumerate(lines, start=1))
    return {match[1]: number for match, number in matches if match}


def report_names(read: Configuration, name: str) -> None:
    """Report a file that is named and missing, and each name that nearly is one of SRVC's.

    What resembles nothing is a warning of srvc.checks: it may be another program's.
    """
    file = environment.environment_file(name)
    if os.environ.get("SRVC_ENV_FILE") and not file.exists() and name != environment.DEVELOPMENT:
        fix = "Correct SRVC_ENV_FILE, or remove it to read the environment's own file."
        read.report("file", "SRVC_ENV_FILE", "names a file that is not there", fix)
    for each in unknown_in(file):
        if each.meant:
            fix = f"Rename it to {each.meant} in {file}, or remove the line."
            wrong = f"is no variable of SRVC (line {each.line}), so its value has no effect"
            read.report("misspelt", each.label, wrong, fix)
    folder = environment.variable_folder()
    if "~" in folder.parts or (folder.exists() and not folder.is_dir()):
        fix = "Set SRVC_VAR to the absolute path of a folder, such as /srv/srvc/var."
        read.report("invalid", "SRVC_VAR", "is no folder", fix)
    near = get_close_matches(name, (environment.PRODUCTION, environment.DEVELOPMENT), cutoff=_NEAR)
    if near and name not in near:
        fix = f"Set SRVC_ENV={near[0]}, or choose a name that can't be taken for it."
        read.report("invalid", "SRVC_ENV", f"is {name}, which is nearly {near[0]}", fix)


def _nearest(name: str, cutoff: float) -> str:
    return next(iter(get_close_matches(name.upper(), known_names(), n=1, cutoff=cutoff)), "")


def _environment() -> str:
    try:
        return environment.environment_name()
    except environment.EnvironmentNameError:
        return environment.DEVELOPMENT
