"""What only an administrator of the server can make for a restore: roles, untrusted extensions."""

from __future__ import annotations

import os
import re

import psycopg
from django.conf import settings

from ops.backups.manifest import Manifest
from ops.backups.recreate import create_roles, statements, unquoted
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.restores.errors import RefusedError

VARIABLE = "DATABASE_ADMIN_URL"
_NAMED = re.compile(r'^(?:CREATE|ALTER) ROLE (?P<role>"(?:[^"]|"")+"|[^\s;"]+)')


def administrator() -> Endpoint | None:
    """Return where an administrator signs in, when one was given for this command, or None.

    Raises ServerError for an address that is none.
    """
    if settings.EMBEDDED_POSTGRES:
        own = EmbeddedServer(settings.VAR_DIR / "postgres")
        if not own.is_running():
            return None
        address = {key: str(value) for key, value in own.connection.items()}
        return Endpoint(address["host"], address["port"], address["user"], "postgres", None)
    url = os.environ.get(VARIABLE, "")
    return Endpoint.from_url(url) if url else None


def missing_roles(connection: Connection, manifest: Manifest) -> list[str]:
    """Return the roles that a backup speaks of and the server has not."""
    known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    return sorted(manifest.roles.keys() - known)


def role_statements(manifest: Manifest, names: list[str]) -> list[str]:
    """Return the SQL that makes these roles, as the backup has it."""
    found = []
    for statement in statements(manifest.roles_sql):
        match = _NAMED.match(statement)
        if match is not None and unquoted(match["role"]) in names:
            found.append(statement)
    return found


def may_create_roles(connection: Connection) -> bool:
    """Whether the login itself may make roles."""
    row = connection.execute(
        "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    return bool(row and row[0])


def create_missing_roles(
    session: Connection, manifest: Manifest, admin: Endpoint | None
) -> list[str]:
    """Make the roles that are missing, without passwords; returns their names.

    Raises RefusedError with the SQL when nobody here may.
    """
    missing = missing_roles(session, manifest)
    if not missing:
        return []
    script = "\n".join(role_statements(manifest, missing))
    try:
        if admin is not None:
            with admin.connect() as connection:
                create_roles(connection, script)
        elif may_create_roles(session):
            create_roles(session, script)
    except psycopg.Error as error:
        raise RefusedError(
            f"The roles {', '.join(missing)} could not be made: {one_line(error)}. The database "
            "was not touched."
        ) from None
    if left := missing_roles(session, manifest):
        raise RefusedError(told_missing(manifest, left))
    return missing


def told_missing(manifest: Manifest, names: list[str]) -> str:
    """Return the sentence about roles that somebody has to make first."""
    script = " ".join(role_statements(manifest, names)) or " ".join(
        f'CREATE ROLE "{name}";' for name in names
    )
    return (
        f"The server lacks roles that the backup speaks of: {', '.join(names)}. Nothing was "
        f"changed. Set {VARIABLE} to an administrator's address for this command, or have one run: "
        f"{script}"
    )
