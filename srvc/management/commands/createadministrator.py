"""`manage.py createadministrator EMAIL`: somebody who may see and do everything on the platform."""

from __future__ import annotations

import getpass
import json
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.management.edge import told_plainly
from crm.services.accounts import create_administrator
from ops.rls.session import acting_as_admin

PASSWORD_VARIABLE = "ADMINISTRATOR_PASSWORD"  # noqa: S105 (the variable's name)
_NOTHING = "Nothing was created."


class Command(BaseCommand):
    help = (
        "Make a platform administrator: a person without an account who sees every business, "
        "plans, backups and health. The password is typed at the prompt, or comes from "
        f"--password-stdin or the environment variable {PASSWORD_VARIABLE}; never from an "
        "argument, which other users of the machine could read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="what the person signs in with")
        parser.add_argument("--first-name", default="", help="the person's first name")
        parser.add_argument("--last-name", default="", help="the person's last name")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the password from the first line of standard input",
        )
        parser.add_argument("--json", action="store_true", help="say it as JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _password(from_stdin=options["password_stdin"])
        with told_plainly(), acting_as_admin(via="createadministrator"):
            user = create_administrator(
                email=options["email"].strip(),
                password=password,
                first_name=options["first_name"].strip(),
                last_name=options["last_name"].strip(),
                by=None,
            )
        if options["json"]:
            self.stdout.write(json.dumps({"id": user.pk, "email": user.email}, indent=2))
            return
        self.stdout.write(f"{user.email} is a platform administrator and can sign in.")
        if settings.REQUIRE_TWO_FACTOR:
            self.stdout.write(
                "The first sign-in asks to enrol a second factor (an app on a phone)."
            )


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise CommandError(f"Standard input held no password. {_NOTHING} Pipe one in.")
        return given
    if given := os.environ.get(PASSWORD_VARIABLE, ""):
        return given
    if not sys.stdin.isatty():
        raise CommandError(
            f"There is no terminal to type a password at. {_NOTHING} Pipe it in with "
            f"--password-stdin, or set {PASSWORD_VARIABLE} for this one command."
        )
    given = getpass.getpass("Password (10 characters or more): ")
    if given != getpass.getpass("The same password again: "):
        raise CommandError(f"The two passwords differ. {_NOTHING} Run this again.")
    return given
