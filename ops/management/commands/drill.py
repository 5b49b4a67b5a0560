"""`manage.py drill`: rehearse a restore, step by step, on a private server."""

from __future__ import annotations

import json
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.errors import BackupError
from ops.management import backup_tables, drill_tables
from ops.management.edge import (
    FAILED,
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.models import BackupKind, Drill, DrillVerdict
from ops.readiness.reading import readiness
from ops.readiness.sentences import sentence
from ops.restores.drills.drill import ask_for_drill, bury_drills, drill
from ops.restores.errors import RefusedError
from ops.restores.requests import DrillRequest
from ops.rls.router import as_owner_by_default
from ops.runs import Asker

_HELP = """\
Rehearse a restore: restore a backup, or a moment, on a private server that is thrown away, and try
ever more of it: every byte, every definition, row and hash, every index, what each role sees, what
must be true of the data, and the application itself. The live database is left alone.

  drill                          the newest backup that brings the whole database back
  drill BACKUP                   this one: a name, a part of one, or the number in the list
  drill --random                 any good one, rather one that was not drilled for long
  drill --to "2026-11-22 14:05"  a moment: a time, a WAL position, or a restore point's name
  drill --to now                 this moment: a row is written before and after it, and looked for
  drill --list                   what drills came to, and how things stand

Exit status: 0 passed, which means that every step was tried and held; 1 failed; 2 nothing was
wrong, but some step could not be tried, or refused, or wrong usage; 130 interrupted.
"""
_LISTED = 30


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "drill")
        parser.add_argument("words", nargs="*", metavar="BACKUP")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--latest", action="store_true", help="the newest one (the default)")
        which.add_argument("--random", action="store_true", help="any good one")
        which.add_argument("--to", metavar="MOMENT", default="", help="a moment out of the WAL")
        which.add_argument("--list", action="store_true", help="what drills came to")
        parser.add_argument("--kind", choices=_kinds(), help="the newest or any one of this kind")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["words"]
        choices = [f"--{name}" for name in ("latest", "random", "to", "list") if options[name]]
        if len(words) > 1 or (words and choices):
            raise CommandError(
                f"A drill is of one backup. Nothing was done; leave out {words[-1]}"
                f"{' or ' + choices[0] if choices else ''}.",
                returncode=USAGE,
            )
        require_settings("BACKUP_", "DATABASE_")
        with as_owner_by_default(), told_plainly():
            if options["list"]:
                self._list(as_json=options["json"])
                return
            done = self._drill(words[0] if words else "", options)
        out = backup_tables.console(cast("IO[str]", self.stdout._out))
        if options["json"]:
            self._write(drill_tables.as_json(done))
        else:
            drill_tables.show_ladder(out, done)
        if done.verdict != DrillVerdict.PASSED:
            code = FAILED if done.verdict == DrillVerdict.FAILED else USAGE
            raise CommandError(f"The drill did not pass. {done.note}", returncode=code)

    def _drill(self, backup: str, options: dict[str, Any]) -> Drill:
        request = DrillRequest(
            backup=backup,
            random=options["random"],
            moment=options["to"],
            kind=options["kind"] or "",
        )
        try:
            run = ask_for_drill(request, by=Asker.of_command())
        except (RefusedError, BackupError) as error:
            raise CommandError(str(error), returncode=USAGE) from None
        err = cast("IO[str]", self.stderr._out)
        with make_progress(err, json=options["json"]) as progress, stopped_by_signals(progress):
            try:
                return drill(run, progress)
            except RefusedError as error:
                raise CommandError(str(error), returncode=USAGE) from None

    def _list(self, *, as_json: bool) -> None:
        bury_drills()
        drills = list(Drill.objects.select_related("backup").newest_first()[:_LISTED])
        if as_json:
            self._write([drill_tables.as_json(each) for each in drills])
            return
        out = backup_tables.console(cast("IO[str]", self.stdout._out))
        drill_tables.show_drills(out, drills, sentence(readiness()))

    def _write(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))


def _kinds() -> list[str]:
    return [kind for kind in BackupKind.values if kind != BackupKind.FOREIGN]
