"""Django's `createsuperuser` does not fit: the web process's login may not write a person."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Not for SRVC: manage.py createadministrator EMAIL makes a platform administrator."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--noinput", "--no-input", action="store_true", help=argparse.SUPPRESS)
        for option in ("--email", "--database", "--username"):
            parser.add_argument(option, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"] or "EMAIL"
        raise CommandError(
            "SRVC's platform administrators are made by another command. Nothing was created. "
            f"Run: manage.py createadministrator {email}",
            returncode=2,
        )
