"""`manage.py dbping`: how long each step of a connection takes, and which one fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.management.edge import (
    FAILED,
    INTERRUPTED,
    USAGE,
    describe,
    require_settings,
    told_plainly,
)
from ops.management.ping_tables import Series, as_json, show_ping, show_summary
from ops.management.reporting import console, dump
from ops.postgres.endpoint import Endpoint
from ops.postgres.ping import SECONDS, ping
from ops.rls.router import OWNER_ALIAS

_HELP = """\
Try to connect as each login of this environment (the web process's, the owner's, the one for
replication), and tell how long the steps take: the name (DNS), the network (TCP, or a unix socket),
TLS, the sign-in, a query. Where a step fails, why that usually is and what to do next.

  dbping                     four times each
  dbping --count 100         as often; Ctrl-C ends it with what there is
  dbping --json              for programs; times in milliseconds

Exit status: 0 each try of each login was answered, 1 one was not, 2 wrong usage or settings,
130 interrupted before anything was tried.
"""
_MOST = 100_000
_PAUSE = 0.2  # seconds between two tries


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "dbping")
        parser.add_argument("--count", type=int, default=4, metavar="N", help="tries of each login")
        parser.add_argument(
            "--timeout",
            type=float,
            default=SECONDS,
            metavar="SECONDS",
            help=f"what a step may take (default: {SECONDS:g})",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("DATABASE_")
        _require("--count", options["count"], 1, _MOST)
        _require("--timeout", options["timeout"], 0.01, 600)
        with told_plainly():
            several = [Series(endpoint) for endpoint in _endpoints()]
        out = console(cast("IO[str]", self.stdout._out))
        try:
            for series, number in _tries(several, options["count"]):
                series.pings.append(ping(series.endpoint, options["timeout"]))
                if not options["json"]:
                    show_ping(out, series.endpoint.user, number, series.pings[-1])
        except KeyboardInterrupt:
            if not any(series.pings for series in several):
                raise CommandError("It was interrupted.", returncode=INTERRUPTED) from None
        if options["json"]:
            self.stdout.write(dump([as_json(series) for series in several]))
        else:
            show_summary(out, several)
        failed = [series.endpoint.user for series in several if series.failures]
        if failed:
            who = " and ".join(failed)
            raise CommandError(f"No connection each time for {who}.", returncode=FAILED)


def _tries(several: Sequence[Series], count: int) -> Iterator[tuple[Series, int]]:
    """Yield whom to try, and for the how manieth time."""
    for number in range(1, count + 1):
        # What did not answer at first is not waited for again and again.
        left = [each for each in several if number == 1 or not each.pings[0].failure]
        if number > 1 and left:
            time.sleep(_PAUSE)
        yield from ((series, number) for series in left)


def _endpoints() -> list[Endpoint]:
    found = [Endpoint.of("default"), Endpoint.of(OWNER_ALIAS)]
    if replication := Endpoint.replication():
        found.append(replication)
    return found


def _require(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # also what is no number
        raise CommandError(
            f"{option} is from {least:g} to {most:,g}. Nothing was tried.", returncode=USAGE
        )
