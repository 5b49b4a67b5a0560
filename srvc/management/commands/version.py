"""`manage.py version`: the product, its commit, the schema's state and the server."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from typing import Any

import django
import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections
from django.db.migrations.loader import MigrationLoader

from ops.postgres.errors import one_line
from ops.rls.router import OWNER_ALIAS
from srvc import product

_HELP = """\
Print which SRVC this is, the commit of its source, whether the database's schema is of this
version, and the server's version. For bug reports, and before and after an upgrade.

Exit status: 0 the schema is this version's, 1 it is not, or the database could not be asked.
"""


@dataclass(frozen=True)
class Schema:
    """The migrations of the database compared with the source's."""

    server: str
    applied: int
    pending: list[str]
    unknown: list[str]

    @property
    def state(self) -> str:
        """One word for scripts."""
        if self.unknown:
            return "newer"
        return "behind" if self.pending else "current"


_SENTENCES = {
    "current": "this version's: all {applied} migrations are applied",
    "behind": "{pending} migrations are not applied; run: manage.py migrate",
    "newer": "{unknown} applied migrations are not of this version: the database was upgraded by a "
    "newer SRVC. Start that one, or see docs/upgrading.md for the way back",
}


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        facts: dict[str, Any] = {
            "product": product.NAME,
            "version": product.version(),
            "commit": product.commit(),
            "environment": settings.ENVIRONMENT,
            "python": platform.python_version(),
            "django": django.get_version(),
        }
        try:
            schema, trouble = read_schema(), ""
        except (Error, psycopg.Error) as error:
            schema, trouble = None, one_line(error)
        if options["json"]:
            state = {"state": schema.state, **asdict(schema)} if schema else {"state": "unknown"}
            server = state.pop("server", None)
            self.stdout.write(json.dumps({**facts, "server": server, "schema": state}, indent=2))
        else:
            self._print(facts, schema)
        if schema is None:
            raise CommandError(
                f"The database could not be asked: {trouble}. See that its server runs and is the "
                "one that DATABASE_OWNER_URL names."
            )
        if schema.state != "current":
            raise CommandError("The schema is not this version's; see above.")

    def _print(self, facts: dict[str, Any], schema: Schema | None) -> None:
        self.stdout.write(f"{facts['product']} {facts['version']}")
        self.stdout.write(f"commit       {facts['commit'] or 'unknown (not a clone)'}")
        self.stdout.write(f"environment  {facts['environment']}")
        self.stdout.write(f"Python       {facts['python']}, Django {facts['django']}")
        if schema is None:
            return
        self.stdout.write(f"PostgreSQL   {schema.server}")
        counts = {
            "applied": schema.applied,
            "pending": len(schema.pending),
            "unknown": len(schema.unknown),
        }
        self.stdout.write(f"schema       {_SENTENCES[schema.state].format(**counts)}")
        for name in (*schema.pending, *schema.unknown):
            self.stdout.write(f"             {name}")


def read_schema() -> Schema:
    """Return the schema's state. Raises django.db.Error when the database can't be asked."""
    connection = connections[OWNER_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = str(cursor.fetchone()[0])
    loader = MigrationLoader(connection, ignore_no_migrations=True)
    wanted, applied = set(loader.disk_migrations), set(loader.applied_migrations)
    # Of apps that are here: what another app left behind says nothing about this version. A folded
    # migration's parts count as applied with it.
    ours = {app for app, _ in wanted}
    replaced = {part for each in loader.disk_migrations.values() for part in each.replaces}
    return Schema(
        server=server,
        applied=len(applied & wanted),
        pending=sorted(f"{app}.{name}" for app, name in wanted - applied),
        unknown=sorted(f"{app}.{name}" for app, name in applied - wanted - replaced if app in ours),
    )
