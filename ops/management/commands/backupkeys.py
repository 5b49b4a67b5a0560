"""`manage.py backupkeys`: whom backups are encrypted to, who can open them, and new keys."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.keymaking import make_identity
from ops.backups.keyreport import KeyReport, Recipient, key_report
from ops.management.edge import FAILED, USAGE, describe, told_plainly
from ops.rls.router import as_owner_by_default

_HELP = """\
Show whom backups are encrypted to, which of them can be opened here, and what is risky.

  backupkeys          how things stand
  backupkeys --new    make a key; its secret half is a file to take away

A secret half is never shown. Exit status: 0 all set, 1 no backup can be taken, 2 wrong usage.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "backupkeys")
        parser.add_argument("--new", action="store_true", help="make a key")
        parser.add_argument("--output", type=Path, help="where to write its secret half")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["output"] and not options["new"]:
            raise CommandError("--output belongs to --new. Nothing was done.", returncode=USAGE)
        with told_plainly(), as_owner_by_default():
            if options["new"]:
                self._make(options)
            else:
                self._show(options)

    def _make(self, options: dict[str, Any]) -> None:
        file = (options["output"] or _default_file()).expanduser().absolute()
        public = make_identity(file)
        recipients = ",".join([*settings.BACKUP_AGE_RECIPIENTS, public])
        if options["json"]:
            self.stdout.write(
                json.dumps({"public_key": public, "file": str(file), "recipients": recipients})
            )
            return
        self.stdout.write(
            _MADE.format(
                environment=settings.ENVIRONMENT,
                public=public,
                file=file,
                env=".env" if not settings.PRODUCTION_LIKE else f".env.{settings.ENVIRONMENT}",
                recipients=recipients,
            )
        )

    def _show(self, options: dict[str, Any]) -> None:
        report = key_report()
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report), default=str))
        else:
            for line in _lines(report):
                self.stdout.write(line)
            for sentence in report.refusals:
                self.stdout.write(self.style.ERROR(sentence))
            for sentence in report.warnings:
                self.stdout.write(self.style.WARNING(sentence))
        if report.refusals:
            raise SystemExit(FAILED)


_MADE = """\
Made a key for the backups of {environment}.
  public key    {public}
  secret half   {file}

1. Let backups be encrypted to it, in {env}:
     BACKUP_AGE_RECIPIENTS={recipients}
2. Take the secret half away from here: into a password manager, onto another machine, and once on
   paper (it is one line). Then delete this file. Who has it can read every backup; when nobody has
   it any more, nobody can.
3. Where backups are to be opened (verified in full, proven, restored), name its file there:
     BACKUP_AGE_IDENTITY_FILES={file}
Earlier backups stay encrypted to the former keys: keep those for as long as `manage.py backupkeys`
counts backups that need them. Keep BACKUP_SIGNING_KEY with the secret half.\
"""


def _lines(report: KeyReport) -> list[str]:
    lines = [f"Keys of the backups of {report.environment}"]
    lines += [_line(each) for each in report.recipients] or ["  nobody"]
    if report.clear:
        lines.append(f"  not encrypted: {_backups(report.clear)}")
    if report.clear is None:
        lines.append("  The catalogue could not be asked how many backups need which key.")
    former = f", and {report.former_signing_keys} former" if report.former_signing_keys else ""
    lines.append(f"Signing key: {'set' if report.has_signing_key else 'missing'}{former}")
    files = ", ".join(str(file) for file in report.identity_files) or "none"
    lines.append(f"Identity files here: {files}")
    return lines


def _line(each: Recipient) -> str:
    opens = "opens here" if each.opens_here else "its secret half is not here"
    when = "" if each.current else ", former"
    count = "" if each.backups is None else f", {_backups(each.backups)}"
    return f"  {each.kind} {each.key}: {opens}{when}{count}"


def _backups(count: int) -> str:
    return f"{count:,} backup{'' if count == 1 else 's'}"


def _default_file() -> Path:
    moment = datetime.now(UTC)
    return Path(settings.VAR_DIR) / "keys" / f"backup-identity-{moment:%Y-%m-%d-%H%M%S}.txt"
