"""Who may do what: three logins, three roles, and the SQL that makes them.

The same statements are run by `manage.py provision` and printed by its `--sql`, so what a managed
service's operator pastes is what our own servers get. Each may be run again without harm, on
PostgreSQL 15 to 18, as a superuser or as an administrator with CREATEROLE and CREATEDB.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

OWNER = "srvc_owner"
APP = "srvc_app"
# Takes base backups and streams WAL: all of the data at once, and so nothing else (no database, no
# table, no role).
REPLICATION = "srvc_replication"
MEMBER = "srvc_member"
ADMIN = "srvc_admin"
PUBLIC = "srvc_public"

LOGINS = (OWNER, APP, REPLICATION)
# A request takes one of these for the length of its transaction (ops/rls/session.py).
REQUEST_ROLES = (MEMBER, ADMIN, PUBLIC)

EXTENSIONS = ("pg_trgm", "btree_gin")
STATISTICS_EXTENSION = "pg_stat_statements"
AMCHECK_EXTENSION = "amcheck"
OUR_EXTENSIONS = frozenset({*EXTENSIONS, STATISTICS_EXTENSION, AMCHECK_EXTENSION})

# Where functions about the whole server are granted: of the database itself pg_dump would carry
# such grants along, and a restore by the owner, who may not give them, would fail.
MAINTENANCE_DATABASE = "postgres"
WAL_FUNCTIONS = ("pg_switch_wal()", "pg_create_restore_point(text)")

_WITHOUT = {
    "pg_switch_wal()": "WAL will be shipped only when a segment is full",
    "pg_create_restore_point(text)": "There will be no named moments to restore to",
}
NO_REPLICATION_PASSWORD = (
    f"{REPLICATION} is given no password, as none is configured. Base backups and WAL need one, in "
    "DATABASE_REPLICATION_URL."
)

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
        yield Statement(
            f"{role} exists",
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN\n"
            f"  CREATE ROLE {role}; END IF; END $$",
        )
        # Naming SUPERUSER or BYPASSRLS, even to deny it, is refused to a CREATEROLE administrator.
        # PostgreSQL 15 lets nobody but a superuser alter a login that has REPLICATION.
        kind = "LOGIN" if role in LOGINS else "NOLOGIN"
        inherit = "NOINHERIT" if role in {APP, REPLICATION} else "INHERIT"
        yield Statement(
            f"{role} is {kind}",
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = "
            f"'{role}'\n    AND rolcanlogin = {kind == 'LOGIN'} AND rolinherit = "
            f"{inherit == 'INHERIT'}) THEN\n"
            f"  ALTER ROLE {role} {kind} {inherit}; END IF; END $$",
        )
    yield Statement(
        f"whoever runs this may act as {OWNER}, to give it the database",
        _unless_superuser(
            f"IF current_setting('server_version_num')::int >= 160000 THEN\n"
            f"    EXECUTE 'GRANT {OWNER} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE';\n"
            f"  ELSE GRANT {OWNER} TO CURRENT_USER; END IF;"
        ),
    )
    for login in (OWNER, APP):
        for role in REQUEST_ROLES:
            yield Statement(
                f"{login} may become {role}, and has none of its rights before",
                "DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN\n"
                f"  EXECUTE 'GRANT {role} TO {login} WITH INHERIT FALSE, SET TRUE';\n"
                f"ELSE GRANT {role} TO {login}; END IF; END $$",
            )
    yield from _limits()
    yield from _owner_privileges()
    yield _replication()
    yield Statement(
        f"{OWNER} may make databases: restores go into a new one, beside the live one",
        f"DO $$ BEGIN IF NOT (SELECT rolcreatedb FROM pg_roles WHERE rolname = '{OWNER}') THEN\n"
        f"  ALTER ROLE {OWNER} CREATEDB; END IF; END $$",
        f"Nothing can be restored as a whole: the server did not let {OWNER} make databases. Ask "
        f"for `ALTER ROLE {OWNER} CREATEDB` and run this again; backups and the recovery of single "
        "rows work without.",
    )


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


def template_of(database: str) -> str:
    """Return the name of the database from which empty ones like it are made."""
    # PostgreSQL cuts off what is longer than 63 bytes.
    return database.encode()[:53].decode(errors="ignore") + "_template"


def template_query(database: str) -> str:
    """Return a query for what makes the template of a database, with the same encoding and locale.

    It yields one statement, or no row when the template is there.
    """
    return (
        "SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING %L'\n"
        "  ' LOCALE_PROVIDER %s LC_COLLATE %L LC_CTYPE %L%s', "
        f"{_literal(template_of(database))}, '{OWNER}',\n"
        "  pg_encoding_to_char(encoding), CASE datlocprovider WHEN 'c' THEN 'libc'\n"
        # Its column has had another name since PostgreSQL 17.
        "    ELSE format(CASE datlocprovider WHEN 'i' THEN 'icu ICU_LOCALE %L'\n"
        "      ELSE 'builtin BUILTIN_LOCALE %L' END,\n"
        "      coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')) END,\n"
        "  datcollate, datctype,\n"
        "  CASE spcname WHEN 'pg_default' THEN '' ELSE format(' TABLESPACE %I', spcname) END)\n"
        "FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace\n"
        f"WHERE datname = {_literal(database)} AND NOT EXISTS\n"
        f"  (SELECT FROM pg_database WHERE datname = {_literal(template_of(database))})"
    )


def template_open_statements(database: str) -> Iterator[Statement]:
    """Yield what lets the template be worked on, by its owner and a superuser only."""
    template = template_of(database)
    yield Statement(
        "the template may be entered for a moment",
        _text("ALTER DATABASE {} ALLOW_CONNECTIONS true", template),
    )
    yield Statement(
        "nobody else enters the template",
        _text("REVOKE ALL ON DATABASE {} FROM PUBLIC", template),
    )


def template_close_statements(database: str) -> Iterator[Statement]:
    """Yield what lets the template be copied: nobody may be connected to it."""
    yield Statement(
        "the template is copied, never entered",
        _text("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false", template_of(database)),
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
    yield Statement(
        f"{OWNER} may look for damaged indexes",
        # Its functions are for superusers. A grant given later pg_dump would carry along, and a
        # restore by the owner, who may not give it, would fail. One that is there while the
        # extension is made belongs to the extension, and is in no dump.
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = "
        f"'{AMCHECK_EXTENSION}') THEN\n"
        f"  ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {OWNER};\n"
        f"  CREATE EXTENSION {AMCHECK_EXTENSION} SCHEMA public;\n"
        f"  ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM {OWNER};\n"
        "  END IF; END $$",
        "Damaged indexes will be found in drills of base backups only: the server did not let "
        f"{OWNER} have {AMCHECK_EXTENSION}. Ask a superuser to run `manage.py provision`.",
    )


def maintenance_statements() -> Iterator[Statement]:
    """Yield the owner's rights on the server as a whole. Run in MAINTENANCE_DATABASE."""
    for function in WAL_FUNCTIONS:
        yield Statement(
            f"{OWNER} may call {function}",
            f"DO $$ BEGIN IF NOT has_function_privilege('{OWNER}', '{function}', 'EXECUTE') THEN\n"
            f"  GRANT EXECUTE ON FUNCTION {function} TO {OWNER}; END IF; END $$",
            f"{_WITHOUT[function]}: the server did not let {OWNER} call {function}. As a superuser "
            f"run in the database {MAINTENANCE_DATABASE}: `GRANT EXECUTE ON FUNCTION {function} TO "
            f"{OWNER}`.",
        )


def psql_script(database: str) -> str:
    """Return the whole provisioning as a script for psql, with placeholders for passwords."""
    lines = [
        "-- Roles, grants and database of SRVC. It may be run again without harm.",
        "-- Run it as a superuser, or as an administrator with CREATEROLE and CREATEDB:",
        "--   manage.py provision --sql > provision.sql; psql ADMIN_URL --file provision.sql",
        "-- Passwords (or their SCRAM-SHA-256 verifiers) come from psql's environment (psql 14).",
        "\\getenv owner_password SRVC_OWNER_PASSWORD",
        "\\getenv app_password SRVC_APP_PASSWORD",
        "\\getenv replication_password SRVC_REPLICATION_PASSWORD",
        "",
        *_printed(role_statements()),
        f"ALTER ROLE {OWNER} PASSWORD :'owner_password';",
        f"ALTER ROLE {APP} PASSWORD :'app_password';",
        "\\if :{?replication_password}",
        f"ALTER ROLE {REPLICATION} PASSWORD :'replication_password';",
        "\\else",
        f"\\echo '{NO_REPLICATION_PASSWORD}'",
        "\\endif",
        "",
        "SELECT "
        + sql.Literal(database_statement(database)).as_string()
        + " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = "
        + sql.Literal(database).as_string()
        + ") \\gexec",
        *_printed(database_grant_statements(database)),
        "\\connect " + sql.Identifier(database).as_string(),
        *_printed(schema_statements()),
        "-- Restores make their database from a template: it has what only a superuser may make.",
        template_query(database) + " \\gexec",
        *_printed(template_open_statements(database)),
        "\\connect " + sql.Identifier(template_of(database)).as_string(),
        *_printed(schema_statements()),
        "\\connect " + sql.Identifier(MAINTENANCE_DATABASE).as_string(),
        *_printed(template_close_statements(database)),
        *_printed(maintenance_statements()),
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


def _replication() -> Statement:
    return Statement(
        f"{REPLICATION} may take base backups and stream WAL",
        "DO $$ BEGIN IF NOT (SELECT rolreplication FROM pg_roles WHERE rolname = "
        f"'{REPLICATION}') THEN\n"
        f"  ALTER ROLE {REPLICATION} REPLICATION; END IF; END $$",
        "There will be no base or incremental backups and no WAL from this server: it did not let "
        f"{REPLICATION} replicate. Full backups work: take them often, and rely on the provider's "
        "own point-in-time recovery for moments between them. On a server of your own, as a "
        f"superuser run `ALTER ROLE {REPLICATION} REPLICATION`.",
    )


def _unless_superuser(body: str) -> str:
    return (
        "DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN\n"
        f"  {body}\nEND IF; END $$"
    )


def _literal(value: str) -> str:
    return sql.Literal(value).as_string()


def _text(template: str, *names: str) -> str:
    return sql.SQL(template).format(*map(sql.Identifier, names)).as_string()


def _printed(statements: Iterator[Statement]) -> Iterator[str]:
    for statement in statements:
        yield f"-- {statement.why}"
        if statement.if_refused:
            yield f"-- (if refused: {statement.if_refused})"
        yield f"{statement.sql};"
    yield ""
