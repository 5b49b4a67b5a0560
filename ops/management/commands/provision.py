"""Roles, database and grants on a PostgreSQL server of your own or of a managed service."""

import getpass
import os
import sys
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connections
from psycopg.conninfo import conninfo_to_dict

from ops.errors import OpsError
from ops.management.edge import mention_environment, require_settings
from ops.postgres import roles
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ProvisionError, ServerError, one_line
from ops.postgres.provisioning import Provisioning, provision

ADMIN_VARIABLE = "DATABASE_ADMIN_URL"
_REPLICATION_VARIABLE = "DATABASE_REPLICATION_URL"
_LOGINS = {
    "default": ("DATABASE_URL", roles.APP),
    "owner": (settings.OWNER_URL_VARIABLE, roles.OWNER),
}


class Command(BaseCommand):
    help = (
        "Makes the roles, the database and the grants of an environment; running it again changes "
        "nothing. It reads the logins from DATABASE_URL, DATABASE_OWNER_URL and, for base backups "
        f"and WAL, {_REPLICATION_VARIABLE}, and once needs the URL of a superuser or of a role "
        f"with CREATEROLE and CREATEDB, from {ADMIN_VARIABLE} or typed at the prompt. With --sql "
        "it prints the SQL for psql instead."
    )
    # The checks of the database would complain about what this command is about to make.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        mention_environment(parser, "provision")
        parser.add_argument("--sql", action="store_true", help="print the SQL and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("DATABASE_")
        database = str(settings.DATABASES["default"]["NAME"])
        try:
            if options["sql"]:
                self.stdout.write(roles.psql_script(database))
            else:
                self._provision(database)
        except OpsError as error:
            raise CommandError(str(error)) from None

    def _provision(self, database: str) -> None:
        work = Provisioning(_administrator(), database, _passwords())
        for warning in provision(work, self.stdout.write):
            self.stderr.write(self.style.WARNING(warning))
        _sign_in()
        self._sign_in_to_replicate()
        self.stdout.write(
            f"{', '.join((*roles.LOGINS, *roles.REQUEST_ROLES))} and database {database} are ready."
        )

    def _sign_in_to_replicate(self) -> None:
        """Warn when base backups and WAL would fail; everything else works without them."""
        endpoint = Endpoint.replication()
        if endpoint is None:
            return
        try:
            endpoint.connect().close()
        except ServerError as error:
            self.stderr.write(
                self.style.WARNING(
                    f"There will be no base backups and no WAL: {error} It has to let "
                    f"{roles.REPLICATION} in for the database `replication`."
                )
            )


def _passwords() -> dict[str, str]:
    """Return the logins' passwords, refusing addresses that are not of these logins."""
    found = {}
    for alias, (variable, login) in _LOGINS.items():
        config = settings.DATABASES[alias]
        if config["USER"] != login:
            raise ProvisionError(
                f"{variable} signs in as {config['USER'] or 'nobody'}, not as {login}. Nothing was "
                f"changed. Set {variable}=postgres://{login}:PASSWORD@HOST:5432/NAME."
            )
        if not config["PASSWORD"]:
            raise ProvisionError(
                f"{variable} has no password for {login}. Nothing was changed. Choose a long one, "
                f"write it into {variable} and run this again."
            )
        found[login] = config["PASSWORD"]
    if settings.DATABASES["default"]["NAME"] != settings.DATABASES["owner"]["NAME"]:
        raise ProvisionError(
            f"DATABASE_URL and {_LOGINS['owner'][0]} name different databases. Nothing was "
            "changed. They are two logins of one database: correct one of them."
        )
    return found | _replication_password()


def _replication_password() -> dict[str, str]:
    endpoint = Endpoint.replication()
    if endpoint is None:
        return {}
    if endpoint.user != roles.REPLICATION or not endpoint.password:
        raise ProvisionError(
            f"{_REPLICATION_VARIABLE} is not of {roles.REPLICATION} with a password. Nothing was "
            f"changed. Set {_REPLICATION_VARIABLE}=postgres://{roles.REPLICATION}:PASSWORD@HOST:"
            "5432/, or remove it: then there are no base backups and no WAL."
        )
    return {roles.REPLICATION: endpoint.password}


def _administrator() -> dict[str, Any]:
    if settings.EMBEDDED_POSTGRES:
        server = EmbeddedServer(settings.VAR_DIR / "postgres")
        if not server.is_running():
            raise ProvisionError(
                "The embedded PostgreSQL is not running. Nothing was changed. `make run` starts it "
                "and provisions it by itself."
            )
        return server.connection
    given = os.environ.get(ADMIN_VARIABLE, "")
    if not given and sys.stdin.isatty():
        given = getpass.getpass("Administrator's URL (postgres://…, not shown): ").strip()
    if not given:
        raise ProvisionError(
            f"{ADMIN_VARIABLE} is not set. Nothing was changed. Set it, for this one command, to "
            "the URL of a superuser or of a role with CREATEROLE and CREATEDB; or use --sql."
        )
    try:
        arguments = conninfo_to_dict(given)
    except psycopg.Error:
        # libpq's own message would repeat the URL, password included.
        raise ProvisionError(
            f"{ADMIN_VARIABLE} is no PostgreSQL address. Nothing was changed. Its form is "
            "postgres://NAME:PASSWORD@HOST:5432/postgres."
        ) from None
    return {"dbname": "postgres", **arguments}


def _sign_in() -> None:
    for alias, (variable, login) in _LOGINS.items():
        try:
            connections[alias].ensure_connection()
        except OperationalError as error:
            raise ProvisionError(
                f"Everything was made, but {login} cannot sign in with {variable}: "
                f"{one_line(error)}. Check its host and port, and the server's pg_hba.conf."
            ) from None
        finally:
            connections[alias].close()
