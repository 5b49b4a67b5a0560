"""Which environment this process is, and its variables.

Development reads `.env`; every other environment reads `.env.NAME`, where NAME comes from
`SRVC_ENV` or from an operator command's first argument. Real environment variables win over files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
DEVELOPMENT = "development"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


class EnvironmentError_(Exception):
    """A value the process can't start without is missing or wrong."""


def environment_name() -> str:
    """The environment's name, `development` unless `SRVC_ENV` says otherwise."""
    name = os.environ.get("SRVC_ENV", DEVELOPMENT).strip() or DEVELOPMENT
    if not _NAME.fullmatch(name):
        raise EnvironmentError_(
            f"SRVC_ENV={name!r} is no environment's name (lower-case letters, digits, - and _). "
            "Nothing was started; name one such as staging or production."
        )
    return name


def environment_file(name: str) -> Path:
    """The file that holds an environment's variables; `SRVC_ENV_FILE` names another one."""
    if named := os.environ.get("SRVC_ENV_FILE"):
        return Path(named)
    return BASE_DIR / (".env" if name == DEVELOPMENT else f".env.{name}")


def load(name: str) -> environ.Env:
    """Variables of the environment: the process's own first, then the file's."""
    file = environment_file(name)
    if file.is_file():
        environ.Env.read_env(file, overwrite=False)
    return environ.Env()
