"""Who may do what: two logins, three roles, and the SQL that makes them.

The same statements are run by `manage.py provision` and printed by its `--sql`, so what a managed
service's operator pastes is what our own servers get. Each may be run again without harm, on
PostgreSQL 15 to 18, as a superuser or as an administrator with CREATEROLE and CREATEDB.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

OWNER = "srvc_owner"
APP = "srvc_app"
MEMBER = "srvc_member"
ADMIN = "srvc_admin"
PUBLIC = "srvc_public"

LOGINS = (OWNER, APP)
# A request takes one of these for the length of its transaction (ops/rls/session.py).
REQUEST_ROLES = (MEMBER, ADMIN, PUBLIC)

EXTENSIONS = ("pg_trgm", "btree_gin")
STATISTICS_EXTENSION = "pg_stat_statements"

# The web process must never hold the database up: not by a slow query, not by waiting for a lock,
# not by a transaction somebody forgot. Operators' work runs as the owner and has no such limits.
APP_LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}


@dataclass(frozen=True)
class Statement:
    """One step: what it is for, its SQL, and what it means when the server refuses it."""

    why: str
    sql: str
    # None: without this step SRVC does not work, so a refusal ends the provisioning.
    if_refused: str | None = None


def role_statements() -> Iterator[Statement]:
    """Yield what makes logins and roles. Run in any database of the server."""
    for role in (*LOGINS, *REQUEST_ROLES):
        kind = "LOGIN" if role in LOGINS else "NOLOGIN"
        inherit = "NOINHERIT" if role == APP else "INHERIT"
        yield Statement(
            f"{role} exists",
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN\n"
            f"  CREATE ROLE {role}; END IF; END $$",
        )
        # Naming SUPERUSER or BYPASSRLS, even to deny it, is refused to a CREATEROLE administrator.
        yield Statement(f"{role} is {kind}", f"ALTER ROLE {role} {kind} {inherit}")
    yield Statement(
        f"whoever runs this may act as {OWNER}, to give it the database",
        _unless_superuser(
            f"IF current_setting('server_version_num')::int >= 160000 THEN\n"
            f"    EXECUTE 'GRANT {OWNER} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE';\n"
            f"  ELSE GRANT {OWNER} TO CURRENT_USER; END IF;"
        ),
    )
    for login in LOGINS:
        for role in REQUEST_ROLES:
            yield Statement(
                f"{login} may become {role}, and has none of its rights before",
                "DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN\n"
                f"  EXECUTE 'GRANT {role} TO {login} WITH INHERIT FALSE, SET TRUE';\n"
                f"ELSE GRANT {role} TO {login}; END IF; END $$",
            )
    yield from _limits()
    yield from _owner_privileges()


def database_statement(database: str) -> str:
    """Return what makes the database. It cannot run in a transaction or twice."""
    return _text("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'", database, OWNER)


def database_grant_statements(database: str) -> Iterator[Statement]:
    """Yield who may enter the database; also for a clone, which inherits no grants."""
    yield Statement(f"{OWNER} owns it", _text("ALTER DATABASE {} OWNER TO {}", database, OWNER))
    yield Statement("nobody else enters", _text("REVOKE ALL ON DATABASE {} FROM PUBLIC", database))
    yield Statement(
        f"{APP} enters", _text("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", database, APP)
    )
    for role in REQUEST_ROLES:
        yield Statement(
            "temporary tables work within a request",
            _text("GRANT TEMPORARY ON DATABASE {} TO {}", database, role),
        )


def schema_statements() -> Iterator[Statement]:
    """Yield what makes the schema and extensions. Run in the database itself."""
    yield Statement(f"{OWNER} owns the schema", f"ALTER SCHEMA public OWNER TO {OWNER}")
    yield Statement("nobody else makes tables", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for role in (APP, *REQUEST_ROLES):
        yield Statement(
            f"{role} sees the schema and makes nothing in it",
            f"REVOKE CREATE ON SCHEMA public FROM {role}; GRANT USAGE ON SCHEMA public TO {role}",
        )
    for extension in EXTENSIONS:
        yield Statement(
            f"{extension} is there", f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA public"
        )
    yield Statement(
        "query statistics are there",
        f"CREATE EXTENSION IF NOT EXISTS {STATISTICS_EXTENSION} SCHEMA public",
        f"Slow queries will not be reported: only a superuser may add {STATISTICS_EXTENSION}. Ask "
        f"for `CREATE EXTENSION {STATISTICS_EXTENSION}` in this database, and for "
        f"shared_preload_libraries = '{STATISTICS_EXTENSION}'.",
    )


def provision_statements(database: str) -> Iterator[Statement]:
    """Yield every step but the database's creation and the passwords, in order."""
    yield from role_statements()
    yield from database_grant_statements(database)
    yield from schema_statements()


def psql_script(database: str) -> str:
    """Return the whole provisioning as a script for psql, with placeholders for passwords."""
    lines = [
        "-- Roles, grants and database of SRVC. It may be run again without harm.",
        "-- Run it as a superuser, or as an administrator with CREATEROLE and CREATEDB:",
        "--   manage.py provision --sql > provision.sql; psql ADMIN_URL --file provision.sql",
        "-- Passwords (or their SCRAM-SHA-256 verifiers) come from psql's environment (psql 14).",
        "\\getenv owner_password SRVC_OWNER_PASSWORD",
        "\\getenv app_password SRVC_APP_PASSWORD",
        "",
        *_printed(role_statements()),
        f"ALTER ROLE {OWNER} PASSWORD :'owner_password';",
        f"ALTER ROLE {APP} PASSWORD :'app_password';",
        "",
        "SELECT "
        + sql.Literal(database_statement(database)).as_string()
        + " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = "
        + sql.Literal(database).as_string()
        + ") \\gexec",
        *_printed(database_grant_statements(database)),
        "\\connect " + sql.Identifier(database).as_string(),
        *_printed(schema_statements()),
    ]
    return "\n".join(lines) + "\n"


def _limits() -> Iterator[Statement]:
    for name, value in APP_LIMITS.items():
        yield Statement(f"{APP}: {name}", f"ALTER ROLE {APP} SET {name} = '{value}'")


def _owner_privileges() -> Iterator[Statement]:
    yield Statement(
        f"{OWNER} sees every row: backups and migrations would miss some otherwise",
        f"DO $$ BEGIN IF NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = '{OWNER}') THEN\n"
        f"  ALTER ROLE {OWNER} BYPASSRLS; END IF; END $$",
        f"{OWNER} cannot see every row: only a superuser (from PostgreSQL 16 on, also a role that "
        f"has BYPASSRLS itself) may allow it. Ask for `ALTER ROLE {OWNER} BYPASSRLS` and run this "
        "again; until then migrations, imports and backups by the owner do not work.",
    )
    for role, use in (("pg_monitor", "health checks"), ("pg_signal_backend", "ending sessions")):
        yield Statement(
            f"{OWNER} may do {use}",
            f"DO $$ BEGIN IF NOT pg_has_role('{OWNER}', '{role}', 'USAGE') THEN\n"
            f"  GRANT {role} TO {OWNER}; END IF; END $$",
            f"{use.capitalize()} will be limited: the server did not grant {role} to {OWNER}. "
            f"Ask for `GRANT {role} TO {OWNER}`.",
        )


def _unless_superuser(body: str) -> str:
    return (
        "DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN\n"
        f"  {body}\nEND IF; END $$"
    )


def _text(template: str, *names: str) -> str:
    return sql.SQL(template).format(*map(sql.Identifier, names)).as_string()


def _printed(statements: Iterator[Statement]) -> Iterator[str]:
    for statement in statements:
        yield f"-- {statement.why}"
        if statement.if_refused:
            yield f"-- (if refused: {statement.if_refused})"
        yield f"{statement.sql};"
    yield ""
