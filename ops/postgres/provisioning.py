"""Making roles, database and grants on a server, once or as often as you like."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, sql

from ops.postgres import roles, server
from ops.postgres.errors import ProvisionError, one_line

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Provisioning:
    """What to provision. Passwords leave this process only as SCRAM verifiers."""

    admin: Mapping[str, Any]
    database: str
    passwords: Mapping[str, str] = field(repr=False)

    def connect(self, database: str | None = None) -> Connection:
        """Connect as the administrator, to the database it was given or to another one."""
        arguments = dict(self.admin)
        if database:
            arguments["dbname"] = database
        return psycopg.connect(**arguments, autocommit=True)


def provision(work: Provisioning, say: Callable[[str], None] = lambda sentence: None) -> list[str]:
    """Make what is missing; return what the server refused, and what to ask for."""
    try:
        with work.connect() as connection:
            server.require_supported(connection)
            warnings = _run(connection, roles.role_statements())
            _set_passwords(connection, work.passwords)
            if not server.database_exists(connection, work.database):
                say(f"creating database {work.database}")
                _create(connection, work.database)
            warnings += _run(connection, roles.database_grant_statements(work.database))
        with work.connect(work.database) as connection:
            warnings += _run(connection, roles.schema_statements())
            _verify(connection)
            _leave(connection)
    except psycopg.OperationalError as error:
        raise ProvisionError(
            f"The server could not be reached as its administrator: {one_line(error)}. Nothing "
            "more was changed. Check the administrator's URL and run this again."
        ) from None
    return warnings


def _run(connection: Connection, statements: Iterable[roles.Statement]) -> list[str]:
    warnings = []
    for statement in statements:
        try:
            connection.execute(statement.sql)
        except (errors.InsufficientPrivilege, errors.FeatureNotSupported) as error:
            if statement.if_refused is None:
                raise ProvisionError(
                    f"The server refused a step ({statement.why}): {one_line(error)}. The steps "
                    "before it stand, no data was touched. Give a superuser's URL, or one with "
                    "CREATEROLE and CREATEDB that owns the database, and run this again."
                ) from None
            warnings.append(statement.if_refused)
        except errors.UndefinedFile:
            if statement.if_refused is None:
                raise ProvisionError(
                    f"The server lacks an extension ({statement.why}). The steps before it stand, "
                    "no data was touched. Install it (Debian: apt-get install postgresql-contrib) "
                    "and run this again."
                ) from None
            warnings.append(statement.if_refused)
    return warnings


def _create(connection: Connection, database: str) -> None:
    try:
        server.create_database(connection, database, owner=roles.OWNER)
    except errors.InsufficientPrivilege as error:
        raise ProvisionError(
            f"Database {database} does not exist and may not be created: {one_line(error)}. The "
            "roles stand, no data was touched. Create it, or give a URL with CREATEDB, and run "
            "this again."
        ) from None


def _set_passwords(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Store the verifiers, computed here: neither the wire nor a server log sees a password."""
    for role, password in passwords.items():
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode())
            )
        )


def _verify(connection: Connection) -> None:
    """Refuse to call it done while the web process's login could see past the row policies."""
    row = connection.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole,"
        " EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)"
        " FROM pg_roles WHERE rolname = %s",
        [roles.APP],
    ).fetchone()
    names = ("is a superuser", "has BYPASSRLS", "has CREATEROLE", "owns tables")
    wrong = [name for name, value in zip(names, row or (), strict=False) if value]
    if wrong:
        raise ProvisionError(
            f"{roles.APP} {' and '.join(wrong)}, so rows of one account would be open to another. "
            "No data was touched. As a superuser run `ALTER ROLE "
            f"{roles.APP} NOSUPERUSER NOBYPASSRLS NOCREATEROLE` and `REASSIGN OWNED BY {roles.APP} "
            f"TO {roles.OWNER}`, then this again."
        )


def _leave(connection: Connection) -> None:
    """Give back the membership that an administrator without superuser rights took for the work."""
    connection.execute(
        "DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN\n"
        f"  REVOKE {roles.OWNER} FROM CURRENT_USER; END IF; END $$"
    )
