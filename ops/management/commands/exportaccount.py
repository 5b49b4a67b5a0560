"""`manage.py exportaccount`: everything of one account as a file."""

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
from ops.restores.accounts.exporting import Exported, ask_for_export, export_account
from ops.rls.router import as_owner_by_default
from ops.runs import Asker

_HELP = """\
Write everything of one account to a file: its rows with their history, its people and settings, its
subscription, the uploaded files its rows name. docs/accounts.md describes the format; importaccount
takes it in, on this server or another.

  exportaccount owner@business.example business.tar
  exportaccount owner@business.example business.tar.age production

A name that ends in .age is encrypted to BACKUP_AGE_RECIPIENTS. People come without their passwords,
and set new ones by e-mail, unless --with-passwords takes the hashes along. Second factors and
sessions never do.

Exit status: 0 written, 1 failed and no file left, 2 wrong usage, 130 interrupted.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "exportaccount")
        parser.add_argument("account", metavar="EMAIL", help="e-mail address of its owner")
        parser.add_argument("file", type=Path, metavar="FILE", help="which must not exist yet")
        parser.add_argument(
            "--with-passwords", action="store_true", help="take the hashes of passwords along"
        )
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
            run = ask_for_export(
                options["account"],
                options["file"].expanduser(),
                by=Asker.of_command(),
                passwords=options["with_passwords"],
            )
            exported = export_account(run, progress)
        self._print(exported, as_json=options["json"])

    def _print(self, exported: Exported, *, as_json: bool) -> None:
        archive = exported.archive
        if as_json:
            document = {
                "file": str(exported.path),
                "bytes": exported.path.stat().st_size,
                "encrypted": exported.encrypted,
                "account": archive.account,
                "passwords": archive.passwords,
                "tables": {each.name: each.rows for each in archive.tables},
                "files": len(archive.files),
                "missing_files": archive.missing_files,
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
            return
        files = f" and {len(archive.files):,} files" if archive.files else ""
        self.stdout.write(
            f"{exported.path}: {archive.rows:,} rows of {len(archive.tables):,} tables{files} of "
            f"the account of {archive.account['email']}"
            f"{', encrypted' if exported.encrypted else ', not encrypted'}."
        )
        for name in archive.missing_files:
            self.stdout.write(f"The file {name}, which a row names, is not there.")
