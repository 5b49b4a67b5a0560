"""`manage.py restorepoint`: give this moment a name that one can restore to."""

from __future__ import annotations

import json
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.table import Table

from ops.management import backup_tables
from ops.management.edge import USAGE, describe, require_settings, told_plainly
from ops.models import RestorePoint
from ops.restores.errors import RefusedError
from ops.restores.moments.points import ask_for_restore_point, make_restore_point
from ops.rls.router import as_owner_by_default
from ops.runs import Asker

_HELP = """\
Give this moment a name, before something risky, and restore to it with `restore --to NAME`. It
takes a base backup from before and a walreceiver that runs (docs/restores.md).

  restorepoint before-import     make one
  restorepoint --list            which there are

Exit status: 0 made, 1 failed, 2 wrong usage or refused, nothing was made.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "restorepoint")
        parser.add_argument("words", nargs="*", metavar="NAME")
        parser.add_argument("--list", action="store_true", help="show the points there are")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["words"]
        _require_words(words, wanted=0 if options["list"] else 1)
        require_settings("DATABASE_")
        with as_owner_by_default(), told_plainly():
            if options["list"]:
                self._list(as_json=options["json"])
            else:
                self._make(words[0], as_json=options["json"])

    def _make(self, name: str, *, as_json: bool) -> None:
        try:
            run = ask_for_restore_point(name, by=Asker.of_command())
            point = make_restore_point(run)
        except RefusedError as error:
            raise CommandError(str(error), returncode=USAGE) from None
        run.refresh_from_db()
        if as_json:
            self.stdout.write(_json({**_as_json(point), "message": run.message}))
        else:
            self.stdout.write(run.message.replace(" WARNING: ", "\nWARNING: "))

    def _list(self, *, as_json: bool) -> None:
        points = list(RestorePoint.objects.all())
        if as_json:
            self.stdout.write(_json([_as_json(point) for point in points]))
            return
        if not points:
            self.stdout.write("There is no restore point. `manage.py restorepoint NAME` makes one.")
            return
        table = Table(box=None, pad_edge=False)
        for heading in ("Name", "Moment (UTC)", "Position", "Made by"):
            table.add_column(heading, no_wrap=True)
        for point in points:
            table.add_row(
                point.name, f"{point.made_at:%Y-%m-%d %H:%M:%S}", point.lsn, point.made_by
            )
        backup_tables.console(cast("IO[str]", self.stdout._out)).print(table)


def _require_words(words: list[str], *, wanted: int) -> None:
    """Require a name, or none beside --list. Raises CommandError."""
    if len(words) != wanted:
        raise CommandError(
            "One name, please, such as before-import. Nothing was made."
            if wanted
            else f"{words[0]} goes without --list. Nothing was done.",
            returncode=USAGE,
        )


def _as_json(point: RestorePoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "made_at": point.made_at.isoformat(),
        "lsn": point.lsn,
        "timeline": point.timeline,
        "system_identifier": point.system_identifier,
        "made_by": point.made_by,
    }


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2)
