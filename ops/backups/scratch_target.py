"""A database on a scratch server, ready for the restore procedure as one beside the live is.

The owner's login has the rights that it had where the backup was taken, and what provisioning puts
into the template of restores is there.
"""

from __future__ import annotations

import secrets
from typing import Any

import psycopg
from psycopg import sql

from ops.backups.dump_restore.extensions import SCHEMAS_DETAIL, fits_template
from ops.backups.dump_restore.procedure import Target
from ops.backups.manifest import Manifest
from ops.backups.scratch import Scratch
from ops.postgres import roles
from ops.postgres.endpoint import Connection, Endpoint
from ops.runs import OWNER


def scratch_target(server: Scratch, database: str, manifest: Manifest) -> Target:
    """Return an empty database as what a restore of this backup goes into.

    The scratch server's superuser is the administrator, for a backup that needs one; and it is the
    owner where the backup is of a server that knew no owner's login.
    """
    address: dict[str, Any] = dict(server.server.connection)
    superuser = Endpoint(
        host=str(address["host"]),
        port=str(address["port"]),
        user=str(address["user"]),
        database=database,
        password=None,
    )
    login = Endpoint.of(OWNER).user
    with server.connect() as connection:
        owner = _signed_in(connection, superuser, login)
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(database), sql.Identifier(owner.user)
            )
        )
    with server.connect(database) as connection:
        _provision(connection, manifest)
    return Target(owner, superuser)


def _signed_in(connection: Connection, superuser: Endpoint, login: str) -> Endpoint:
    """Return the login with a password of its own, or the superuser for want of it."""
    known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [login]).fetchone()
    if login == superuser.user or known is None:
        return superuser
    name = sql.Identifier(login)
    password = secrets.token_urlsafe(24)
    connection.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN CONNECTION LIMIT -1 PASSWORD {} VALID UNTIL 'infinity'"
        ).format(name, sql.Literal(password))
    )
    return Endpoint(superuser.host, superuser.port, login, superuser.database, password)


def _provision(connection: Connection, manifest: Manifest) -> None:
    """Make what the template of restores has; see template_fits()."""
    if not fits_template(manifest.details.get(SCHEMAS_DETAIL, {})):
        return
    known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    if {roles.OWNER, roles.APP, *roles.REQUEST_ROLES} <= known:
        for statement in roles.schema_statements():
            try:
                connection.execute(statement.sql.encode())
            except psycopg.Error:
                if statement.if_refused is None:
                    raise
