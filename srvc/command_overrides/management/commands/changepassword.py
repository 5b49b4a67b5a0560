"""Django's `changepassword`, by the owner's login: the web process's may not, without a request."""

from __future__ import annotations

from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandParser

from ops.rls.router import OWNER_ALIAS


class Command(changepassword.Command):
    """Asks for a person's new password; the username is the e-mail address."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=OWNER_ALIAS)
