"""`manage.py explain`: how PostgreSQL answers a statement, for whom, and what is slow about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.health.inspection.explaining import explain
from ops.management.edge import USAGE, describe, require_settings, told_plainly
from ops.management.explain_tables import explanation_as_json, show_explanation
from ops.management.reporting import console, dump
from ops.rls.router import as_owner_by_default

_HELP = """\
Show how PostgreSQL answers a statement: its steps, which of them is expensive, where rows were
guessed wrong, what reads whole tables or sorts on disk. Nothing is changed: one SELECT, in a
transaction that can't write and is rolled back; anything else is refused.

  explain "SELECT * FROM jobs WHERE title = 'Boiler'"      its plan; it is not executed
  explain "SELECT …" --as owner@demo.example               as that member: their rows alone
  explain "SELECT …" --as owner@demo.example --analyze     executed, with real rows and times
  explain --file slow.sql        explain -                 out of a file, out of standard input
  explain "SELECT … WHERE id = $1"                         for any value (PostgreSQL 16 and newer)

Exit status: 0 shown, 1 refused or failed, 2 wrong usage, 130 interrupted.
"""
_LONGEST = 1_000_000  # characters


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "explain")
        parser.add_argument("words", nargs="*", metavar="SQL")
        parser.add_argument("--file", type=Path, metavar="FILE", help="read the statement there")
        parser.add_argument("--analyze", action="store_true", help="execute it, and roll back")
        parser.add_argument("--as", dest="member", default="", metavar="EMAIL", help="whose rows")
        parser.add_argument(
            "--limit", type=float, default=5.0, metavar="SECONDS", help="stop it then (default: 5)"
        )
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["words"]
        if len(words) + bool(options["file"]) != 1:
            raise CommandError(
                "One statement, in quotes, or --file, or - for standard input. Nothing was "
                "executed.",
                returncode=USAGE,
            )
        if not 0 < options["limit"] <= 3600:
            raise CommandError(
                "--limit is more than 0 s and at most 3600 s. Nothing was executed.",
                returncode=USAGE,
            )
        require_settings("DATABASE_")
        sql = self._statement(words[0] if words else "", options["file"])
        with as_owner_by_default(), told_plainly():
            found = explain(
                sql,
                analyze=options["analyze"],
                member=options["member"],
                limit=options["limit"],
            )
        if options["json"]:
            self.stdout.write(dump(explanation_as_json(found)))
        else:
            show_explanation(console(cast("IO[str]", self.stdout._out)), found)

    def _statement(self, word: str, file: Path | None) -> str:
        try:
            if file is not None:
                with file.open(encoding="utf-8") as stream:
                    word = stream.read(_LONGEST + 1)
            elif word == "-":
                word = sys.stdin.read(_LONGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise CommandError(
                f"The statement can't be read: {why}. Nothing was executed.", returncode=USAGE
            ) from None
        if len(word) > _LONGEST or "\0" in word:
            raise CommandError(
                "This is no statement: too long, or binary. Nothing was executed.",
                returncode=USAGE,
            )
        return word
