"""`manage.py importcsv`: rows from elsewhere into an account."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm.errors import CrmError
from crm.imports.display import refusal_lines, shown_progress, summary_lines
from crm.imports.files import Options
from crm.imports.problems import ImportCancelledError, ImportRefusedError
from crm.imports.reading import DELIMITER_NAMES, DELIMITERS, Source
from crm.imports.run import Summary, run_import
from crm.imports.staging import silent
from crm.models import Account, ImportKind, User
from ops.rls.session import acting_as, acting_as_login

REFUSED, USAGE, INTERRUPTED = 1, 2, 130
_DELIMITERS = {name: mark for mark, name in DELIMITER_NAMES.items()} | {
    mark: mark for mark in DELIMITERS
}
_PAID = {"all": True, "none": False, "as-given": None}


class Command(BaseCommand):
    help = (
        "Import customers, products, jobs or invoices from CSV files, all of them or nothing. "
        "Rows that the account has already are skipped. Exit status: 0 all in, 1 refused and "
        "nothing imported, 2 wrong usage, 130 interrupted and nothing imported."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=ImportKind.values, help="what the rows are")
        parser.add_argument(
            "files",
            nargs="+",
            type=Path,
            metavar="FILE",
            help="CSV files; for invoices also a file of invoices and one of their lines",
        )
        parser.add_argument(
            "--account",
            required=True,
            metavar="EMAIL",
            help="e-mail address of the account's owner or of its staff",
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="THEIRS=OURS",
            dest="mapping",
            help="take the column THEIRS for the field OURS, or leave it out with THEIRS=-",
        )
        parser.add_argument("--dry-run", action="store_true", help="try everything, keep nothing")
        parser.add_argument("--encoding", default="", help="instead of the one detected")
        parser.add_argument(
            "--delimiter",
            default="",
            choices=sorted(_DELIMITERS),
            help="instead of the one detected",
        )
        parser.add_argument(
            "--dates",
            choices=["dmy", "mdy"],
            help="how 1/2/2024 is read; by default as in the account's country",
        )
        parser.add_argument(
            "--paid",
            choices=sorted(_PAID),
            default="as-given",
            help="whether imported invoices are paid; by default as the files say, and orders are",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        user = _member(options["account"])
        try:
            with _terminated_like_interrupted():
                summary = self._import(user, options)
        except ImportRefusedError as refusal:
            self._refused(refusal, options)
        except CrmError as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        except KeyboardInterrupt:
            raise CommandError(str(ImportCancelledError()), returncode=INTERRUPTED) from None
        else:
            self._done(summary, options)

    def _import(self, user: User, options: dict[str, Any]) -> Summary:
        dates = options["dates"]
        settings = Options(
            mapping=_mapping(options["mapping"]),
            encoding=options["encoding"],
            delimiter=_DELIMITERS.get(options["delimiter"], ""),
            day_first=None if dates is None else dates == "dmy",
            paid=_PAID[options["paid"]],
        )
        sources = [Source.from_path(path) for path in options["files"]]
        with (
            shown_progress(cast("IO[str]", self.stderr._out)) as progress,
            acting_as(user, via=f"importcsv {options['kind']}"),
        ):
            return run_import(
                kind=options["kind"],
                sources=sources,
                account=Account.objects.get(pk=user.account_id),
                by=user,
                options=settings,
                dry_run=options["dry_run"],
                progress=silent if options["json"] else progress,
            )

    def _done(self, summary: Summary, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(summary), ensure_ascii=False, indent=2))
            return
        for line in summary_lines(summary):
            self.stdout.write(line)

    def _refused(self, refusal: ImportRefusedError, options: dict[str, Any]) -> None:
        if options["json"]:
            found = [problem.as_dict() for problem in refusal.problems]
            outcome = {"imported": False, "problem_count": refusal.count, "problems": found}
            self.stdout.write(json.dumps(outcome, ensure_ascii=False, indent=2))
        raise CommandError("\n".join(refusal_lines(refusal)), returncode=REFUSED) from refusal


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "imported": not summary.dry_run,
        "kind": summary.kind,
        "rows": summary.rows,
        "created": summary.created,
        "skipped": summary.skipped,
        "duplicates": summary.duplicates,
        "files": summary.files,
    }


def _member(email: str) -> User:
    with acting_as_login():
        user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise CommandError(
            f"Nobody signs in as {email}. Make the account with `manage.py createaccount`.",
            returncode=USAGE,
        )
    if user.account_id is None:
        raise CommandError(
            f"{email} belongs to no account; name its owner or one of its staff.",
            returncode=USAGE,
        )
    return user


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        theirs, separator, ours = pair.rpartition("=")
        if not separator or not theirs.strip():
            raise CommandError(f"--map {pair}: write it THEIRS=OURS.", returncode=USAGE)
        mapping[theirs.strip()] = ours.strip()
    return mapping


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
