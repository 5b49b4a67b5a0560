"""Whether logins can write: tried, and rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg
from django.conf import settings
from psycopg import sql

from ops.health.context import Context
from ops.health.contract import OFTEN, Reported, check
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.models import Area, CheckResult, Severity
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ServerError, one_line
from ops.rls.router import OWNER_ALIAS

_PATIENCE = 5  # seconds until a server that does not answer counts as away
_SETTING = "default_transaction_read_only"
# What keeps a try from an answer, and says nothing about the right to write.
_NO_ANSWER = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)


@dataclass(frozen=True)
class _Login:
    key: str
    endpoint: Endpoint
    tables: tuple[str, ...]  # tables of the schema public that it writes to as a matter of course
    meaning: str


@dataclass(frozen=True)
class _Why:
    """What the server says about a session's right to write."""

    in_recovery: bool
    read_only: bool
    source: str  # pg_settings.source of default_transaction_read_only
    login: str
    database: str


@check(Area.CONNECTION, "Logins that can't write", every=OFTEN, connects=True)
def writable(context: Context) -> Iterator[Reported]:
    """A site on a database that is set read-only, or on a standby after a fail-over, shows its
    pages and takes no sign-in and no order; and no finding can be recorded. Each login tries to
    write in a transaction that changes no row and is rolled back."""
    for login in _logins():
        try:
            connection = login.endpoint.connect(connect_timeout=_PATIENCE)
        except ServerError as error:
            context.blind(f"Whether {login.endpoint.user} can write could not be tried: {error}")
            continue
        with closing(connection):
            try:
                refusal = _refusal(connection, login.tables)
            except _NO_ANSWER as error:
                context.blind(
                    f"Whether {login.endpoint.user} can write could not be tried "
                    f"({one_line(error)})."
                )
                continue
            if refusal is not None:
                yield _told(login, refusal, _why(connection))


def _logins() -> Iterator[_Login]:
    # What the application's login writes to in its own name, before anybody has signed in.
    granted = settings.RLS_TABLE_GRANTS.get("app", {})
    yield _Login(
        "web",
        Endpoint.of("default"),
        tuple(table for table, rights in granted.items() if "DELETE" in rights),
        "Nobody can sign in, and nothing can be saved on the site.",
    )
    yield _Login(
        "owner",
        Endpoint.of(OWNER_ALIAS),
        (CheckResult._meta.db_table,),
        "No finding, no run and no backup can be recorded.",
    )


def _refusal(connection: Connection, tables: tuple[str, ...]) -> psycopg.Error | None:
    """Try to write, and return what the server says against it."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '3s'")
            # A server that has run out of transaction numbers, or that is a standby, gives none.
            connection.execute("SELECT pg_current_xact_id()")
            for table in tables:
                # Rights and read-only transactions are looked at before the first row is.
                connection.execute(
                    sql.SQL("DELETE FROM {} WHERE false").format(sql.Identifier("public", table))
                )
    except _NO_ANSWER:
        raise
    except psycopg.Error as error:
        return error
    return None


def _why(connection: Connection) -> _Why | None:
    try:
        row = connection.execute(
            "SELECT pg_is_in_recovery(), setting::bool, source, session_user::text,"
            " current_database()::text FROM pg_settings WHERE name = %s",
            [_SETTING],
        ).fetchone()
    except psycopg.Error:
        return None
    return _Why(*row) if row else None


def _told(login: _Login, refusal: psycopg.Error, why: _Why | None) -> Reported:
    user = login.endpoint.user
    if why is not None and why.in_recovery:
        said = (
            "The server is in recovery (pg_is_in_recovery() is true): it is a standby, or was made "
            "one. Let the addresses of both logins lead to the primary. Promote this server only "
            "if the primary is gone for good: with two primaries rows are lost."
        )
        step = "manage.py dbstatus"
    elif why is not None and why.read_only:
        said = f"{_SETTING} is on for it (source: {why.source})."
        step = _way_back(why)
    else:
        said = f"The server refuses it: {one_line(refusal)}."
        step = "manage.py health --area security --area storage"
        if isinstance(refusal, psycopg.errors.InsufficientPrivilege):
            # Afterwards exactly the declared rights are in force (ops/rls/grants.py).
            step = "manage.py migrate"
    return Reported(
        login.key,
        Severity.CRITICAL,
        f"{user} can't write to the database",
        f"{login.meaning} {said}",
        step,
        f"login {user}",
    )


def _way_back(why: _Why) -> str:
    """The statement that takes the setting back where it was made."""
    role, database = quoted(why.login), quoted(why.database)
    # Without it the session that is to mend it could not write itself.
    first = f"SET {_SETTING} = off;\n"
    match why.source:
        case "database":
            return f"{first}ALTER DATABASE {database} RESET {_SETTING};"
        case "database user":
            return as_superuser(
                f"{first}ALTER ROLE {role} IN DATABASE {database} RESET {_SETTING};"
            )
        case "user":
            return as_superuser(f"{first}ALTER ROLE {role} RESET {_SETTING};")
        case "global":
            return as_superuser(f"{first}ALTER ROLE ALL RESET {_SETTING};")
        case "configuration file":
            return as_superuser(
                f"{first}ALTER SYSTEM SET {_SETTING} = off;\nSELECT pg_reload_conf();"
            )
        case "client" | "environment variable":
            return f"grep -n {_SETTING} .env.{settings.ENVIRONMENT}"
    return f"SHOW {_SETTING};"
