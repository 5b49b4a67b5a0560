"""A private database for a file that nobody vouches for, and the login that may fill it.

The login owns what the file makes, and that is all: what it could do with a superuser's rights or
with the machine's files, it can't. Roles are made of the names the file speaks of, and can't sign
in; extensions only where any owner of a database might make them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from ops.backups.recreate import create_roles
from ops.backups.scratch import Scratch
from ops.backups.selection import all_tables
from ops.postgres import roles
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.files.own_schema import OwnSchema
from ops.restores.files.script import Survey
from ops.runs import OWNER

_MOST_ROLES = 1_000
# Ours, though only a superuser may make some of them; what those read is statistics and indexes,
# and not by everybody.
_OURS = roles.OUR_EXTENSIONS


@dataclass
class Prepared:
    """What a file is loaded by and into."""

    login: str
    password: str = field(repr=False)
    reserved: set[str]  # roles that the file may give nothing to
    schemas: set[str]  # that are there already
    tables: set[str] | None = None  # and sequences that take rows; None: the file makes its own
    notes: list[str] = field(default_factory=list)


def prepare(
    place: Scratch, name: str, found: Survey, schema: OwnSchema | None, progress: Progress
) -> Prepared:
    """Make the database, roles, extensions and the login. Raises RefusedError."""
    if len(found.roles) > _MOST_ROLES:
        raise RefusedError(
            f"{found.name} speaks of {len(found.roles):,} roles. Nothing was begun: that is no "
            "dump of an application's database."
        )
    with place.connect() as connection:
        reserved = _roles(connection)
        # As on the live server, so that what has no owner in the file has the right one.
        login = Endpoint.of(OWNER).user
        if login in reserved or not login:
            login = roles.OWNER
        prepared = Prepared(login, secrets.token_hex(16), reserved, {"public"})
        if schema is not None:
            create_roles(connection, schema.manifest.roles_sql)
        _make_login(connection, prepared)
        _make_roles(connection, found.roles - reserved, login)
        _make_database(connection, name, login)
    with place.connect(name) as connection:
        connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(login)))
        if schema is None:
            _make_extensions(connection, found, prepared)
    if schema is not None:
        schema.begin(place, name, progress)
        with place.connect(name) as connection:
            prepared.tables = _fillable(connection)
            _require_some(found, prepared.tables)
        prepared.notes.append(f"Its rows were loaded into the schema of {schema.manifest.name}.")
    return prepared


def settle(
    place: Scratch,
    name: str,
    found: Survey,
    schema: OwnSchema | None,
    prepared: Prepared,
    progress: Progress,
) -> None:
    """Complete what the rows were missing, and take away what would act on whoever reads."""
    with place.connect() as connection:
        database, login = sql.Identifier(name), sql.Identifier(prepared.login)
        # A setting of the file's making would be in force for the superuser who reads it next.
        connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
        connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(login))
        connection.execute("ALTER ROLE CURRENT_USER SET search_path = pg_catalog")
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(login))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, login))
    if schema is not None:
        schema.complete(place, name, found.name, progress)


def _roles(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}


def _make_login(connection: Connection, prepared: Prepared) -> None:
    role = sql.Identifier(prepared.login)
    if prepared.login not in _roles(connection):
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    # Row policies would hide from it what it has just loaded.
    connection.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS"
            " INHERIT PASSWORD {}"
        ).format(role, sql.Literal(prepared.password))
    )
    mighty = connection.execute(
        "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
        " WHERE m.member = %s::regrole AND (r.rolsuper OR r.rolname LIKE 'pg\\_%%')",
        [role.as_string(connection)],
    ).fetchall()
    for (name,) in mighty:
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(name), role))
    # Rows that belong together may come in any order; what they refer to is checked afterwards.
    connection.execute(
        sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(role)
    )


def _make_roles(connection: Connection, names: set[str], login: str) -> None:
    known = _roles(connection)
    for name in sorted(names - {login}):
        if name.startswith("pg_"):
            continue
        role = sql.Identifier(name)
        if name not in known:
            try:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            except psycopg.Error:
                continue  # no name of a role; what speaks of it will say so
        connection.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(login)))


def _make_database(connection: Connection, name: str, login: str) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone():
        raise RefusedError(
            f"The live database is called {name}, as one that every server has. Nothing was begun. "
            "Give it a name of its own."
        )
    database = sql.Identifier(name)
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(database)
    )
    # It must not own it: an owner sets what is in force for whoever enters it next.
    connection.execute(
        sql.SQL("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
            database, sql.Identifier(login)
        )
    )


def _make_extensions(connection: Connection, found: Survey, prepared: Prepared) -> None:
    login = sql.Identifier(prepared.login)
    available = {
        name
        for name, trusted in connection.execute(
            "SELECT name, bool_or(trusted) FROM pg_available_extension_versions GROUP BY name"
        ).fetchall()
        if trusted or name in _OURS
    }
    for name, schema in sorted(found.extensions.items()):
        if name == "plpgsql":
            continue
        if name not in available:
            prepared.notes.append(f"It wants the extension {name}, which is not to be had here.")
            continue
        if schema and schema not in prepared.schemas and schema != "pg_catalog":
            connection.execute(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), login)
            )
            prepared.schemas.add(schema)
        connection.execute(
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
                sql.Identifier(name), sql.Identifier(schema or "public")
            )
        )


def _fillable(connection: Connection) -> set[str]:
    tables = {f"{each.schema}.{each.name}" for each in all_tables(connection)}
    sequences = connection.execute(
        "SELECT schemaname || '.' || sequencename FROM pg_sequences"
    ).fetchall()
    return tables | {name for (name,) in sequences}


def _require_some(found: Survey, known: set[str]) -> None:
    if not found.filled & known:
        some = ", ".join(sorted(found.filled)[:5])
        raise RefusedError(
            f"{found.name} holds rows without their tables, and none of these is in SRVC's schema: "
            f"{some}. Nothing was begun. Dump it without --data-only."
        )
