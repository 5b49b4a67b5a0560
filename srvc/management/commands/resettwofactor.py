"""For somebody who lost phone and recovery codes: `manage.py resettwofactor EMAIL`.

Make sure first that it is them who asks: from then on the password alone signs them in, or lets
them enrol a new phone.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm.models import User
from ops.rls.router import OWNER_ALIAS
from srvc.two_factor.services import remove


class Command(BaseCommand):
    help = "Take a person's second factors away, after their phone and recovery codes are lost."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the address the person signs in with")
        parser.add_argument("--yes", action="store_true", help="don't ask")

    def handle(self, *args: Any, **options: Any) -> None:
        email: str = options["email"]
        user = User.objects.using(OWNER_ALIAS).filter(email__iexact=email).first()
        if user is None:
            raise CommandError(
                f"Nobody signs in with {email}. Nothing was changed. Check the address."
            )
        if not options["yes"] and input(f"Type {user.email} to confirm it: ").strip() != user.email:
            raise CommandError("That is another address. Nothing was changed.")
        removed = remove(user, using=OWNER_ALIAS)
        self.stdout.write(
            f"{removed} second factors of {user.email} are gone; the password is what it was."
        )
