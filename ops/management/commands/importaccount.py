"""`manage.py importaccount`: an account's archive becomes an account of this server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandParser

from ops.management.edge import (
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.restores.accounts.imported import Imported
from ops.restores.accounts.importing import ask_for_import, import_account
from ops.rls.router import as_owner_by_default
from ops.runs import Asker

_HELP = """\
Take in an account that exportaccount wrote, here or elsewhere: all of it, or nothing. Rows get new
keys where theirs are taken; numbers of documents, history and times stay. The file is looked at to
its last byte first, and afterwards everything that must be true of the data is asked.

  importaccount business.tar --dry-run               try everything, keep nothing
  importaccount business.tar
  importaccount business.tar --as-email new@business.example
                                                     its owner's address is taken here

People whose passwords are not in it set one by e-mail. Staff whose address is taken come as
inactive users, with --as-email alone.

Exit status: 0 imported, 1 refused and nothing imported, 2 wrong usage, 130 interrupted.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "importaccount")
        parser.add_argument("file", type=Path, metavar="FILE", help="what exportaccount wrote")
        parser.add_argument(
            "--as-email", default="", metavar="NEW", help="what the owner signs in with here"
        )
        parser.add_argument("--dry-run", action="store_true", help="try everything, keep nothing")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("BACKUP_AGE_", "DATABASE_")
        err = cast("IO[str]", self.stderr._out)
        with (
            as_owner_by_default(),
            told_plainly(),
            make_progress(err, json=options["json"]) as progress,
            stopped_by_signals(progress),
        ):
            run = ask_for_import(
                options["file"].expanduser(),
                by=Asker.of_command(),
                as_login=options["as_email"],
                dry_run=options["dry_run"],
            )
            imported = import_account(run, progress)
        self._print(imported, as_json=options["json"])

    def _print(self, imported: Imported, *, as_json: bool) -> None:
        if as_json:
            document = {
                "imported": not imported.dry_run,
                "account": None if imported.dry_run else imported.account,
                "email": imported.login,
                "tables": imported.rows,
                "files": imported.files,
                "notes": list(imported.notes),
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
            return
        rows = f"{sum(imported.rows.values()):,} rows of {len(imported.rows):,} tables"
        if imported.dry_run:
            self.stdout.write(f"{imported.login} would come in with {rows}. Nothing was kept.")
        else:
            self.stdout.write(f"{imported.login} is account {imported.account} here: {rows}.")
        for note in imported.notes:
            self.stdout.write(note)
