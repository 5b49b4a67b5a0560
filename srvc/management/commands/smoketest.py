"""`manage.py smoketest`: the application's own check on a restored database."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.management.edge import (
    FAILED,
    USAGE,
    describe,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.postgres.endpoint import Endpoint
from ops.restores.drills.smoke_mark import VARIABLE, is_marked
from ops.rls.router import OWNER_ALIAS
from srvc.smoke import Check, smoke_test

_HELP = """\
Ask the application whether it works on the database that its settings name: sign-in, the probes,
and as a platform administrator and as owners of accounts the dashboard, every list, a page of each,
searches; whether owners see their account's rows, all of them and no others.

It is for a restored copy, which a drill marks as one. On any other database it does nothing, unless
it is given --on-live: then it also reads that one, as people who work there, and removes the
sessions it made.

Exit status: 0 everything held, 1 something did not, 2 refused or wrong usage, 130 interrupted.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "smoketest")
        parser.add_argument("--on-live", action="store_true", help="also on a database in use")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        err = cast("IO[str]", self.stderr._out)
        with told_plainly():
            if not options["on_live"]:
                _require_marked()
            with (
                make_progress(err, json=options["json"]) as progress,
                stopped_by_signals(progress),
            ):
                checks = list(smoke_test(progress))
        self._print(checks, as_json=options["json"])
        failed = [check.name for check in checks if not check.held]
        if failed:
            raise CommandError(
                f"The application does not work on this database: {', '.join(failed)}. See above "
                "what was found.",
                returncode=FAILED,
            )

    def _print(self, checks: list[Check], *, as_json: bool) -> None:
        if as_json:
            document = {
                "held": all(check.held for check in checks),
                "checks": [
                    {
                        "name": check.name,
                        "held": check.held,
                        "found": check.found,
                        "problems": list(check.problems),
                    }
                    for check in checks
                ],
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
            return
        for check in checks:
            told = " ".join(check.problems) if check.problems else check.found
            self.stdout.write(f"{'held  ' if check.held else 'FAILED'}  {check.name}: {told}")


def _require_marked() -> None:
    """Refuse any database but the one that was marked for this process."""
    secret = os.environ.get(VARIABLE, "")
    for alias in ("default", OWNER_ALIAS):
        with closing(Endpoint.of(alias).connect(application_name="srvc smoke test")) as connection:
            if not is_marked(connection, secret):
                raise CommandError(
                    f"{Endpoint.of(alias).place} is not marked as a restored copy for this test, "
                    "so it may be the live one. Nothing was done. A drill (`manage.py drill`) "
                    "restores a copy and tests that; --on-live reads this one all the same.",
                    returncode=USAGE,
                )
