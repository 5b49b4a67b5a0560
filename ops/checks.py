"""System checks of the database (`manage.py check --database default`, web start-up) and health."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import psycopg
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.utils import Error as DatabaseError

from ops.health.thresholds import Thresholds
from ops.postgres import pooler, roles
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import PoolerError, ServerError, one_line
from ops.rls import audit
from ops.rls.router import OWNER_ALIAS


@register(Tags.database)
def check_row_security(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """The web process's login must not see past row security, and every table be covered."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        findings = [*audit.audit_login(), *audit.audit_tables()]
    except DatabaseError:
        return [
            Error(
                "The database could not be asked whether row security is in force.",
                hint="Check that the server runs and that DATABASE_URL is right; nothing was "
                "changed.",
                id="ops.E100",
            )
        ]
    return [
        (Warning if finding.id.startswith("ops.W") else Error)(
            finding.message, hint=finding.hint, id=finding.id
        )
        for finding in findings
    ]


@register(Tags.database)
def check_owner_login(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """The owner's login must open the very database that the web process works on."""
    if OWNER_ALIAS not in (databases or ()):
        return []
    try:
        owned = _which_database(OWNER_ALIAS)
    except PoolerError:
        return [_pooled_owner()]
    except OperationalError as error:
        return [
            Error(
                f"{settings.OWNER_URL_VARIABLE} does not open its database: {one_line(error)}.",
                hint="Check that the server runs, and the login's name and password; "
                "`manage.py provision` gives both logins the passwords of their addresses. Nothing "
                "was changed.",
                id="ops.E120",
            )
        ]
    try:
        used = _which_database(DEFAULT_DB_ALIAS) if DEFAULT_DB_ALIAS in (databases or ()) else owned
    except OperationalError:
        return []  # told by check_row_security
    if used == owned:
        return []
    return [
        Error(
            f"{settings.OWNER_URL_VARIABLE} opens another database than DATABASE_URL, or one on "
            "another server: migrations and backups would be of that one.",
            hint="Let both name the same database of the same server.",
            id="ops.E121",
        )
    ]


def _pooled_owner() -> Error:
    return Error(
        f"{settings.OWNER_URL_VARIABLE} leads to a connection pooler: no backup, restore, "
        "migration or check of health is begun, and no data was touched.",
        hint=f"Set {pooler.DIRECT_URL} to {roles.OWNER}'s address on PostgreSQL itself "
        "(docs/poolers.md).",
        id="ops.E122",
    )


@register(Tags.database)
def check_pooler(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """A pooler of the web process's must empty a session before it serves somebody else."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        if not pooler.hands_on_sessions(Endpoint.of(DEFAULT_DB_ALIAS).connect):
            return []
    except (ServerError, psycopg.Error):
        return []  # told by check_row_security
    return [
        Error(
            "The connection pooler of DATABASE_URL hands on sessions as they were left: what a "
            "request's SQL leaves there (temporary tables, cursors, settings) would reach another "
            "account's request.",
            hint="Set server_reset_query_always = 1 in pgbouncer.ini, or give another pooler's "
            "session mode (docs/poolers.md). No data was touched.",
            id="ops.E123",
        )
    ]


def _which_database(alias: str) -> tuple[Any, ...]:
    # Every login may ask this, unlike for the identifier of the server.
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT oid, datname, pg_postmaster_start_time() FROM pg_database"
            " WHERE datname = current_database()"
        )
        return tuple(cursor.fetchone())


@register()
def check_health_thresholds(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """A threshold of another name would change nothing, and nobody would notice."""
    known = {each.name for each in fields(Thresholds)}
    return [
        Error(
            f"HEALTH_THRESHOLDS names {name!r}, which is no threshold.",
            hint="Take a name of ops/health/thresholds.py; until then nothing is changed by it.",
            id="ops.E110",
        )
        for name in sorted(set(settings.HEALTH_THRESHOLDS) - known)
    ]
