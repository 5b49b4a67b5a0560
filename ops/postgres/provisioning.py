"""Making roles, database and grants on a server, once or as often as you like."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, sql

from ops.postgres import pooler, roles, server, swapping
from ops.postgres.errors import ProvisionError, one_line

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Provisioning:
    """What to provision. Passwords leave this process only as SCRAM verifiers."""

    admin: Mapping[str, Any]
    database: str
    passwords: Mapping[str, str] = field(repr=False)

    def connect(self, database: str | None = None) -> Connection:
        """Connect as the administrator, to the database it was given or to another one.

        Raises psycopg.Error, and PoolerError for the address of a connection pooler.
        """
        arguments = dict(self.admin)
        if database:
            arguments["dbname"] = database
        since = time.monotonic()
        connection: Connection = psycopg.connect(**arguments, autocommit=True)
        user, place = connection.info.user, f"{connection.info.dbname} on {connection.info.host}"
        pooler.require_direct(connection, user, place, since=since)
        return connection


def provision(work: Provisioning, say: Callable[[str], None] = lambda sentence: None) -> list[str]:
    """Make what is missing; return what the server refused, and what to ask for."""
    try:
        with work.connect() as connection:
            server.require_supported(connection)
            warnings = _run(connection, roles.role_statements())
            warnings += _set_passwords(connection, work.passwords)
            if roles.REPLICATION not in work.passwords:
                say(roles.NO_REPLICATION_PASSWORD)
            if not server.database_exists(connection, work.database):
                say(f"creating database {work.database}")
                _create(connection, work.database)
            elif swapping.reopen(connection, work.database):
                say(
                    f"{work.database} is open again; the server had stopped in the middle of a swap"
                )
            warnings += _run(connection, roles.database_grant_statements(work.database))
            has_maintenance = server.database_exists(connection, roles.MAINTENANCE_DATABASE)
        if has_maintenance:
            with work.connect(roles.MAINTENANCE_DATABASE) as connection:
                warnings += _run(connection, roles.maintenance_statements())
        else:
            warnings += [str(each.if_refused) for each in roles.maintenance_statements()]
        with work.connect(work.database) as connection:
            warnings += _run(connection, roles.schema_statements())
            _verify(connection)
            warnings += _provision_template(work, connection)
            _leave(connection)
    except psycopg.OperationalError as error:
        raise ProvisionError(
            f"The server could not be reached as its administrator: {one_line(error)}. Nothing "
            "more was changed. Check the administrator's URL and run this again."
        ) from None
    return warnings


def _provision_template(work: Provisioning, connection: Connection) -> list[str]:
    """Make the database from which restores make theirs; return what it lacks of the live one."""
    template = roles.template_of(work.database)
    made = connection.execute(roles.template_query(work.database).encode()).fetchone()
    try:
        if made is not None:
            connection.execute(made[0].encode())
        _run(connection, roles.template_open_statements(work.database))
        with work.connect(template) as inside:
            _run(inside, roles.schema_statements())
            missing = server.extensions(connection) - server.extensions(inside)
    except (errors.InsufficientPrivilege, psycopg.OperationalError) as error:
        why = one_line(error).rstrip(".")
        lacking = "Restores will lack what only a superuser may make: the database"
        again = "Give a URL with CREATEDB and run this again."
        return [f"{lacking} {template} could not be made ({why}). {again}"]
    finally:
        if server.database_exists(connection, template):
            _run(connection, roles.template_close_statements(work.database))
    return [
        f"The extension {name} is in {work.database} and not in {template}, from which restores "
        f"make their database. Run this with a superuser's URL, or ask for `CREATE EXTENSION "
        f"{name} SCHEMA public` in {template} (ALTER DATABASE {template} ALLOW_CONNECTIONS true "
        "lets one enter it)."
        for name in sorted(missing & roles.OUR_EXTENSIONS)
    ]


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


def _set_passwords(connection: Connection, passwords: Mapping[str, str]) -> list[str]:
    """Store the verifiers, computed here: neither the wire nor a server log sees a password."""
    warnings = []
    for role, password in passwords.items():
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(role), sql.Literal(verifier.decode())
        )
        try:
            connection.execute(statement)
        except errors.InsufficientPrivilege as error:
            if role != roles.REPLICATION:
                raise ProvisionError(
                    f"The server did not let {role} have its password: {one_line(error)}. The "
                    "roles stand, no data was touched. Give a superuser's URL, or one of the role "
                    "that made the logins, and run this again."
                ) from None
            # PostgreSQL 15 keeps logins with REPLICATION to superusers.
            warnings.append(
                f"{role} keeps the password it has: this server lets only a superuser change it. "
                "If it is not the one in DATABASE_REPLICATION_URL, run this with a superuser's URL."
            )
    return warnings


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
