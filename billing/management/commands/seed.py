"""`seed`: made-up businesses, to try SRVC or to measure it."""

from __future__ import annotations

import datetime
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.management.edge import told_plainly
from billing.seeding import bulk, demo
from billing.seeding.progress import shown
from crm.seeding.scales import DEMO, SCALES

_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_HELP = """\
Load made-up businesses with their customers and work, for trying SRVC or measuring it.

demo     three businesses told through the services, with something in every state; they can be
         signed in to (owner@demo.example, admin@demo.example, …; the password is DEMO_PASSWORD)
small    10 accounts, 10,000 customers, work for all of them
large    100 accounts, 100,000 customers, work for all of them
million  1,000 accounts, 1,000,000 customers, and a modest amount of work

The same seed and day give the same rows. All or nothing: stopped, it leaves nothing behind.
Nobody can sign in to the accounts of the scales small, large and million.
"""


def _day(text: str) -> datetime.date:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day such as 2026-03-02") from None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise ArgumentTypeError(f"{text} is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return day


class Command(BaseCommand):
    help = _HELP

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--scale", required=True, choices=[DEMO, *SCALES])
        parser.add_argument(
            "--once", action="store_true", help="succeed in silence when the scale is there already"
        )
        parser.add_argument("--seed", type=int, default=1, help="another number, other rows (1)")
        parser.add_argument(
            "--today",
            type=_day,
            default=None,
            help="the day that dates count from, as YYYY-MM-DD (today)",
        )
        parser.add_argument(
            "--allow-outside-development",
            action="store_true",
            help="load made-up rows into staging or production all the same",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._require_development(allowed=options["allow_outside_development"])
        name, once = options["scale"], options["once"]
        today: datetime.date | None = options["today"]
        try:
            with told_plainly():
                if name == DEMO:
                    self._load_demo(options["seed"], today, once=once)
                else:
                    self._load_bulk(name, options["seed"], today, once=once)
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped. Nothing of the scale {name} was loaded.", returncode=130
            ) from None

    def _require_development(self, *, allowed: bool) -> None:
        if settings.PRODUCTION_LIKE and not allowed:
            raise CommandError(
                f"This is the environment {settings.ENVIRONMENT}: made-up businesses don't belong "
                "here. Nothing was loaded; if they do, add --allow-outside-development."
            )

    def _load_demo(self, seed: int, today: datetime.date | None, *, once: bool) -> None:
        if once and demo.is_loaded():
            return
        loaded = demo.load_demo(seed=seed, today=today, password=settings.DEMO_PASSWORD)
        self.stdout.write(f"Loaded {', '.join(loaded.businesses)}.")
        self.stdout.write(f"Sign in as {demo.OWNER_EMAIL} or {demo.ADMINISTRATOR_EMAIL}.")
        if loaded.generated_password:
            self.stdout.write(
                f"The password, shown this once: {loaded.generated_password} "
                "(set DEMO_PASSWORD to choose it)"
            )

    def _load_bulk(self, name: str, seed: int, today: datetime.date | None, *, once: bool) -> None:
        today = today or datetime.datetime.now(datetime.UTC).date()
        scale = SCALES[name]
        if once and bulk.is_loaded(scale):
            return
        with shown(self.stdout, f"Loading {name}", scale.expected_rows) as progress:
            bulk.load_scale(scale, seed=seed, today=today, progress=progress)
        self.stdout.write(
            f"Loaded {scale.accounts:,} accounts with {scale.customers:,} customers "
            f"({progress.rows:,} rows)."
        )
