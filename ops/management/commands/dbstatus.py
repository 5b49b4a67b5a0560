"""`manage.py dbstatus`: how the database stands, on one screen."""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from rich.table import Table
from rich.text import Text

from ops.health.inspection.status import Fact, status
from ops.management.edge import describe, require_settings, told_plainly
from ops.management.reporting import console, dump, printable
from ops.rls.router import as_owner_by_default

_HELP = """\
Show how the database stands: server, login, size, connections, migrations, last backup, last drill,
what the plan runs next, extensions, TLS, replication. What can't be seen is said, with what allows
it. Whether all of it is well, `manage.py health` says.

Exit status: 0 shown, 1 the database can't be reached, 2 wrong usage.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "dbstatus")
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("DATABASE_")
        now = timezone.now()
        with as_owner_by_default(), told_plainly():
            facts = status(now)
        if options["json"]:
            self.stdout.write(dump({"at": now, **{each.name: _told(each) for each in facts}}))
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for each in facts:
            text = Text(printable(each.problem), "yellow") if each.problem else each.text
            table.add_row(each.title, text if isinstance(text, Text) else Text(printable(text)))
        console(cast("IO[str]", self.stdout._out)).print(table)


def _told(fact: Fact) -> Any:
    return {"unseen": fact.problem} if fact.problem else fact.value
