"""Which environment is launched, and the `.env` of a development machine."""

import os
import secrets
from pathlib import Path

from ops.backups.keymaking import make_identity, public_keys
from ops.postgres.files import write_aside
from srvc import environment
from srvc.launch.errors import LaunchError

_HEADER = """\
# Made by `make run` for this machine alone; every variable is explained in .env.example.
"""
_DATABASE_VARIABLES = ("DATABASE_URL", "DATABASE_OWNER_URL")
# Whoever set one of these has keys of their own.
_BACKUP_KEYS = ("BACKUP_AGE_RECIPIENTS", "BACKUP_AGE_IDENTITY_FILES", "BACKUP_GPG_RECIPIENT")


def load() -> str:
    """Read the environment's file into this process and return the environment's name."""
    name = environment.environment_name()
    environment.load(name)
    return name


def uses_embedded_server(name: str) -> bool:
    """Tell whether PostgreSQL has to be started here: no address is given, in development only."""
    given = [variable for variable in _DATABASE_VARIABLES if os.environ.get(variable)]
    file = environment.environment_file(name).name
    if len(given) == 1:
        (missing,) = set(_DATABASE_VARIABLES) - set(given)
        raise LaunchError(
            f"{given[0]} is set but {missing} is not. Nothing was started. SRVC needs both logins "
            f"of one database: set {missing} in {file}, or neither for the embedded PostgreSQL."
        )
    if not given and name != environment.DEVELOPMENT:
        raise LaunchError(
            f"The environment {name} has no database. Nothing was started. Set DATABASE_URL (login "
            f"srvc_app) and DATABASE_OWNER_URL (login srvc_owner) in {file}."
        )
    return not given


def complete_development_file(*, embedded: bool) -> Path | None:
    """Add the secrets a development `.env` lacks, and return the file if any were missing.

    Values that are there, in the file or in the process's environment, are never touched.
    """
    wanted = ["SECRET_KEY", "DEMO_PASSWORD"]
    if embedded:
        wanted += ["SRVC_OWNER_PASSWORD", "SRVC_APP_PASSWORD", "SRVC_REPLICATION_PASSWORD"]
    wanted.append("BACKUP_SIGNING_KEY")
    missing = {name: _secret(name) for name in wanted if not os.environ.get(name)}
    if not any(os.environ.get(name) for name in _BACKUP_KEYS):
        missing |= _backup_key()
    if not missing:
        return None
    file = environment.environment_file(environment.DEVELOPMENT)
    before = file.read_text(encoding="utf-8") if file.is_file() else _HEADER
    lines = "".join(f"{name}={value}\n" for name, value in missing.items())
    write_aside(file, before.rstrip("\n") + "\n" + lines, None)
    os.environ.update(missing)
    return file


def variable_folder() -> Path:
    """Return the folder of everything SRVC writes."""
    return environment.variable_folder()


def _backup_key() -> dict[str, str]:
    """Make the key that this machine's backups are encrypted to, or find the one it has."""
    file = variable_folder() / "keys" / "backup-identity.txt"
    public = public_keys(file) if file.is_file() else [make_identity(file)]
    return {"BACKUP_AGE_RECIPIENTS": ",".join(public), "BACKUP_AGE_IDENTITY_FILES": str(file)}


def _secret(name: str) -> str:
    # The demo's password is typed by a person; the others never are.
    return secrets.token_urlsafe(9 if name == "DEMO_PASSWORD" else 48)
