"""Which environment this process is, and its variables.

Development reads `.env`; every other environment reads `.env.NAME`, where NAME comes from
`SRVC_ENV` or from the command line (`srvc.command_line`). Real
environment variables win over files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
DEVELOPMENT = "development"
PRODUCTION = "production"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_ASSIGNMENT = re.compile(r"(?:export )?[A-Za-z_][A-Za-z_0-9]*=")


class EnvironmentChoiceError(Exception):
    """The environment can't be used as it is. Nothing was started."""


class EnvironmentNameError(EnvironmentChoiceError):
    """What was given is no environment's name."""


class EnvironmentFileError(EnvironmentChoiceError):
    """An environment's file is there and can't be used; none of its values are in force."""


def environment_name() -> str:
    """The environment's name, `development` unless `SRVC_ENV` says otherwise.

    Raises EnvironmentNameError for a name that can be none.
    """
    return _valid(os.environ.get("SRVC_ENV", "").strip() or DEVELOPMENT, "SRVC_ENV")


def environment_file(name: str) -> Path:
    """The file that holds an environment's variables; `SRVC_ENV_FILE` names another one."""
    if named := os.environ.get("SRVC_ENV_FILE"):
        return Path(named)
    return BASE_DIR / (".env" if name == DEVELOPMENT else f".env.{name}")


def variable_folder() -> Path:
    """The folder of everything SRVC writes; a relative one lies in the project, wherever we are."""
    return BASE_DIR / (os.environ.get("SRVC_VAR", "").strip() or "var")


def known_environments() -> list[str]:
    """The environments that are there: development, those with a file, and what SRVC_ENV says."""
    names = {file.name.removeprefix(".env.") for file in BASE_DIR.glob(".env.*")} - {"example"}
    names.add(os.environ.get("SRVC_ENV", "").strip())
    return sorted({DEVELOPMENT} | {name for name in names if _NAME.fullmatch(name)})


def load(name: str) -> environ.Env:
    """Variables of the environment: the process's own first, then the file's.

    Raises EnvironmentFileError for a file that can't be read or understood, or that is not there
    while nothing else says where this environment's database is.
    """
    file = environment_file(name)
    if file.exists():
        _require_readable(file)
        environ.Env.read_env(file, overwrite=False)
    elif name != DEVELOPMENT and not os.environ.get("DATABASE_URL"):
        others = [each for each in known_environments() if each != name]
        raise EnvironmentFileError(
            f"The environment {name} has no {file.name} in {file.parent} and no DATABASE_URL. "
            "Nothing was started. Make the file (.env.example shows how one looks) or name an "
            f"environment that is there: {', '.join(others)}."
        )
    return environ.Env()


def _valid(name: str, source: str) -> str:
    if not _NAME.fullmatch(name):
        raise EnvironmentNameError(
            f"{source}={name!r} is no environment's name (lower-case letters, digits, - and _). "
            "Nothing was started. Name one such as staging or production."
        )
    return name


def _require_readable(file: Path) -> None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _unusable(file, f"can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _unusable(file, "is no UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        # The line itself may hold a secret, so its number has to do.
        if line.strip() and not line.startswith("#") and not _ASSIGNMENT.match(line):
            raise _unusable(file, f"has no NAME=value on line {number}")


def _unusable(file: Path, why: str) -> EnvironmentFileError:
    return EnvironmentFileError(
        f"{file} {why}. None of its values are in force and nothing was started. Correct the file; "
        ".env.example shows how one looks."
    )
