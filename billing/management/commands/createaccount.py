"""`createaccount`: a business, its owner's sign-in and its plan."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.management.edge import told_plainly
from billing.services.accounts import OpenedAccount, open_account
from ops.rls.session import acting_as_admin

PASSWORD_VARIABLE = "ACCOUNT_PASSWORD"  # noqa: S105 (the variable's name)


class Command(BaseCommand):
    help = (
        "Make a business: its account, its owner's sign-in and a plan on trial for 14 days. "
        "The owner's password comes from --password-stdin, from the environment variable "
        f"{PASSWORD_VARIABLE}, or is made up and shown once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="what the owner signs in with")
        parser.add_argument("--name", default="", help="the business's name")
        parser.add_argument("--plan", default="starter", help="code of the plan (starter)")
        parser.add_argument("--currency", default="USD", help="ISO 4217 code (USD)")
        parser.add_argument("--time-zone", default="UTC", help="such as Europe/Berlin (UTC)")
        parser.add_argument(
            "--phone-region",
            default="US",
            help="country of phone numbers without a country code, ISO 3166 (US)",
        )
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the owner's password from the first line of standard input",
        )
        parser.add_argument("--json", action="store_true", help="say it as JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _given_password(from_stdin=options["password_stdin"])
        with told_plainly(), acting_as_admin(via="createaccount"):
            opened = open_account(
                email=options["email"].strip(),
                name=options["name"].strip(),
                plan=options["plan"],
                password=password,
                currency=options["currency"].upper(),
                time_zone=options["time_zone"],
                phone_region=options["phone_region"].upper(),
                by=None,
            )
        if options["json"]:
            self.stdout.write(json.dumps(_facts(opened), indent=2))
        else:
            self._tell(opened)

    def _tell(self, opened: OpenedAccount) -> None:
        account, subscription = opened.account, opened.subscription
        self.stdout.write(
            f"Made the account {account.name} (id {account.pk}) on {subscription.plan.name}, "
            f"on trial until {subscription.current_period_end:%Y-%m-%d}."
        )
        if opened.generated_password is None:
            self.stdout.write(f"Its owner signs in as {account.user.email}.")
        else:
            self.stdout.write(
                f"Its owner signs in as {account.user.email} with the password "
                f"{opened.generated_password}\nwhich is shown this once: pass it on and let the "
                "owner change it."
            )


def _given_password(*, from_stdin: bool) -> str | None:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError(
                "Standard input held no password. Nothing was created; pipe one in, or leave "
                "--password-stdin out to have one made up."
            )
        return password
    return os.environ.get(PASSWORD_VARIABLE) or None


def _facts(opened: OpenedAccount) -> dict[str, Any]:
    account, subscription = opened.account, opened.subscription
    return {
        "account_id": account.pk,
        "name": account.name,
        "email": account.user.email,
        "currency": account.currency,
        "time_zone": account.time_zone,
        "phone_region": account.phone_region,
        "plan": subscription.plan.code,
        "subscription_status": subscription.status,
        "trial_end": subscription.current_period_end.isoformat(),
        "generated_password": opened.generated_password,
    }
