"""`manage.py backup`: take a backup now."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.errors import BackupError, BusyError
from ops.backups.manifest import Manifest
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.management.edge import (
    BUSY,
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.models import Backup, BackupKind, Run
from ops.rls.router import as_owner_by_default
from ops.runs import Asker
from ops.words import duration, size

NO_COPY = 3
_HELP = """\
Take a backup: by default all of the database, with the proof of what is in it, compressed,
encrypted and stored as the settings say. What it is, and how to check it, is in docs/backups.md.

Exit status: 0 taken, 1 failed and nothing kept, 2 wrong usage, 3 taken but the off-site copy
failed, 4 another one of this kind is being taken, 130 interrupted or cancelled and nothing kept.
"""
_KINDS = {
    "full": (BackupKind.FULL, "schema, rows, roles, grants, settings (the default)"),
    "schema-only": (BackupKind.SCHEMA, "the same without rows"),
    "data-only": (BackupKind.DATA, "rows without the schema"),
    "incremental": (BackupKind.INCREMENTAL, "the server's files, what changed since the last"),
    "base": (BackupKind.BASE, "the server's files, all of them"),
    "media": (BackupKind.MEDIA, "uploaded files"),
}
_MOST_JOBS = 32


class Command(BaseCommand):
    help = _HELP
    # A wrong setting of another part, such as mail, is no reason to be without a backup.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "backup")
        kinds = parser.add_mutually_exclusive_group()
        for name, (kind, text) in _KINDS.items():
            kinds.add_argument(
                f"--{name}", action="store_const", const=kind, dest="kind", help=text
            )
        kinds.add_argument(
            "--table",
            action="append",
            default=[],
            dest="tables",
            metavar="TABLE",
            help='this table alone, by pg_dump\'s patterns (quote*, public."Odd"); repeatable',
        )
        parser.add_argument(
            "--name", default="", help="becomes part of the backup's name: letters, digits, _"
        )
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="store it in this folder instead"
        )
        parser.add_argument(
            "--jobs", type=_jobs, default=1, metavar="N", help="sessions that compute the proof (1)"
        )
        parser.add_argument(
            "--no-encrypt",
            action="store_false",
            dest="encrypt",
            help="store it readable to anybody; refused outside development",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("BACKUP_", "DATABASE_")
        with as_owner_by_default(), told_plainly():
            try:
                backup = self._take(_request(options), options)
            except OpsError as error:
                self._print_failure(error, options)
                if isinstance(error, BusyError):
                    raise CommandError(str(error), returncode=BUSY) from None
                raise
            self._print(backup, options)
            if _lacks_copy(backup, options):
                raise CommandError(
                    f"{backup.name} is taken, but its off-site copy failed: {_why_no_copy(backup)} "
                    "The next backup makes up for it.",
                    returncode=NO_COPY,
                )

    def _take(self, request: Request, options: dict[str, Any]) -> Backup:
        with make_progress(cast("IO[str]", self.stderr._out), json=options["json"]) as progress:
            try:
                run = ask_for_backup(request, by=Asker.of_command())
            except BackupError as error:
                raise CommandError(str(error), returncode=USAGE) from None
            with stopped_by_signals(progress):
                return take_backup(run, progress)

    def _print(self, backup: Backup, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(as_json(backup), ensure_ascii=False, indent=2))
            return
        for line in summary_lines(backup):
            self.stdout.write(line)

    def _print_failure(self, error: Exception, options: dict[str, Any]) -> None:
        if options["json"]:
            outcome = {"taken": False, "error": str(error)}
            self.stdout.write(json.dumps(outcome, ensure_ascii=False, indent=2))


def summary_lines(backup: Backup) -> list[str]:
    """What was taken, how large and how long; in which state it is, and where."""
    what = [BackupKind(backup.kind).label.lower() + " backup"]
    if backup.tables is not None:
        what.append(f"{backup.tables:,} tables")
    if backup.rows is not None:
        what.append(f"{backup.rows:,} rows")
    what.append(f"{size(backup.size)} ({size(backup.raw_size)} before compression)")
    what.append(f"in {duration(backup.seconds or 0)}")
    what.append(
        "encrypted by " + backup.encryption if backup.encryption != "none" else "NOT encrypted"
    )
    archive = Manifest.of_row(backup.manifest).archive.name
    standing = f"{backup.get_state_display()}, in {place(backup)} as {archive}."
    return [
        f"{backup.name}: {', '.join(what)}",
        f"{standing} Check it: manage.py verify {backup.name}",
    ]


def place(backup: Backup) -> str:
    """Return where a backup lies, for people."""
    vault = Vault.of(backup.storage)
    location = getattr(vault.storage, "base_location", "") or getattr(
        vault.storage, "bucket_name", ""
    )
    return str(location or backup.storage)


def as_json(backup: Backup) -> dict[str, Any]:
    """What programs are told of a backup."""
    manifest = Manifest.of_row(backup.manifest)
    return {
        "taken": True,
        "id": backup.pk,
        "name": backup.name,
        "kind": backup.kind,
        "state": backup.state,
        "environment": backup.environment,
        "database": backup.database,
        "storage": backup.storage,
        "objects": [{"name": each.name, "size": each.size} for each in manifest.objects],
        "taken_at": backup.taken_at.isoformat(),
        "seconds": backup.seconds,
        "size": backup.size,
        "raw_size": backup.raw_size,
        "tables": backup.tables,
        "rows": backup.rows,
        "encryption": backup.encryption,
        "parent": manifest.parent,
        "copies": list(backup.copies.values_list("storage", flat=True)),
    }


def _request(options: dict[str, Any]) -> Request:
    kind = options["kind"] or (BackupKind.TABLES if options["tables"] else BackupKind.FULL)
    folder: Path | None = options["output"]
    if folder is not None and folder.exists() and not folder.is_dir():
        raise CommandError(
            f"{folder} is no folder. Nothing was taken. Name one with --output.", returncode=USAGE
        )
    return Request(
        kind=kind,
        label=options["name"],
        folder="" if folder is None else str(folder.expanduser().absolute()),
        tables=tuple(options["tables"]),
        jobs=options["jobs"],
        encrypt=options["encrypt"],
    )


def _lacks_copy(backup: Backup, options: dict[str, Any]) -> bool:
    """Tell whether an off-site copy was due and is not there."""
    second = Vault.second()
    if second is None or options["output"]:
        return False
    return not backup.copies.filter(storage=second.label).exists()


def _why_no_copy(backup: Backup) -> str:
    run = Run.objects.filter(backup=backup, kind="copy").newest_first().first()
    return run.message if run else "nobody knows why."


def _jobs(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_JOBS}")
    return number
