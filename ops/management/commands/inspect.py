"""`manage.py inspect`: every table, one table whole, or a report."""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ops.health.inspection.looking import looking
from ops.health.inspection.report import Report
from ops.health.inspection.reports import REPORTS
from ops.health.inspection.table import table
from ops.health.inspection.tables import tables
from ops.management.edge import USAGE, describe, require_settings, told_plainly
from ops.management.reporting import as_json, console, dump, show
from ops.rls.router import as_owner_by_default

_HELP = """\
Look into the database. It reads only, and waits for no lock.

  inspect                     every table: rows, sizes, how it is read, dead rows, policies
  inspect jobs                one table: columns, indexes, constraints, policies, triggers, grants,
                              references both ways ("Schema"."Table" works too)
  inspect --report locks      which locks there are          … blocking     who waits for whom
  inspect --report outliers   what takes the most time       … calls        what runs most often
  inspect --report indexes    size and use of indexes        … bloat        room that is wasted
  inspect --report vacuum     when it came, when it is due   … roles        who may what
  inspect --report traffic    what is read and written       … replication  who receives

Exit status: 0 shown, 1 it can't be shown, 2 wrong usage.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "inspect")
        parser.add_argument("words", nargs="*", metavar="TABLE")
        parser.add_argument("--report", choices=sorted(REPORTS), help="a report on all of them")
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["words"]
        if len(words) > 1 or (words and options["report"]):
            raise CommandError(
                f"One table or one report at a time. Nothing was shown; leave out {words[-1]}.",
                returncode=USAGE,
            )
        require_settings("DATABASE_")
        with as_owner_by_default(), told_plainly(), looking() as context:
            found: list[Report]
            if options["report"]:
                found = [REPORTS[options["report"]](context)]
            elif words:
                found = table(context, words[0])
            else:
                found = [tables(context)]
        if options["json"]:
            document: Any = as_json(found)
            self.stdout.write(dump(document if words else document[0]))
            return
        show(console(cast("IO[str]", self.stdout._out)), found, timezone.now())
