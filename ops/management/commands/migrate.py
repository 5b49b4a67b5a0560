"""`migrate` as the owner: the web process's login may not change the schema."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from ops.management.edge import mention_environment
from ops.rls.router import OWNER_ALIAS, as_owner_by_default


class Command(migrate.Command):
    help = f"{migrate.Command.help} Runs as the owner's login (alias {OWNER_ALIAS})."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        mention_environment(parser, "migrate")
        parser.set_defaults(database=OWNER_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner_by_default():
            super().handle(*args, **options)
