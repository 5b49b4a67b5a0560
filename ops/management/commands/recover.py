"""`manage.py recover`: rows, tables, a customer or an account back from the past; and undone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ops.backups.errors import BackupError, BusyError
from ops.errors import OpsError
from ops.management import recover_tables
from ops.management.confirming import is_confirmed
from ops.management.edge import (
    BUSY,
    FAILED,
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress, paused
from ops.management.recover_tables import show_difference
from ops.models import Recovery, RecoveryState
from ops.progress import CancelledError, Counter, Progress
from ops.restores.errors import RefusedError
from ops.restores.partial.carrying_out import subject_words
from ops.restores.partial.preview import SAMPLES
from ops.restores.partial.recover import (
    ask_for_recovery,
    ask_for_undo_recovery,
    recover,
    undo_recovery,
)
from ops.restores.requests import MODES, RecoverRequest
from ops.restores.subjects import subjects
from ops.rls.closed import ClosedError
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER, Asker

_NOT_ITS_NAME = "That is not its name. Nothing was changed."

_HELP = """\
Bring back a part of a backup or of a moment: rows of tables, a customer, an account. What is there
today stays, unless it is said otherwise; nothing is changed before the difference is known, and
everything or nothing is. How that works is in docs/restores.md.

  recover --table customers                  what the newest full backup has and today has not
  recover BACKUP --customer 12 --mode all    a customer with all that belongs to it, also set back
  recover --to "2026-11-22 14:05" --table invoices --where "status = 'issued'"
  recover --latest --table prices --exact    exactly as it was: what was added since goes
  recover FILE --customer 12                 from a dump that others made, or one of ours
  recover --from-csv customers=FILE.csv      from a file of rows
  recover … --dry-run                        show the difference, change nothing
  recover --undo ID                          put back what a recovery changed
  recover --list                             what was recovered

Exit status: 0 done, 1 failed or rows of today are in the way, 2 refused before anything began, or
wrong usage, 4 something else is going on, 130 interrupted. Whatever failed has changed nothing.
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "recover")
        parser.add_argument("words", nargs="*", metavar="BACKUP|FILE")
        parser.add_argument(
            "--latest", action="store_true", help="the newest full backup (default)"
        )
        parser.add_argument("--to", default="", metavar="T", help="a moment (point in time)")
        parser.add_argument(
            "--from-csv", action="append", default=[], metavar="TABLE=FILE", help="a file of rows"
        )
        parser.add_argument("--table", action="append", default=[], metavar="T", help="its rows")
        for each in subjects():
            parser.add_argument(
                f"--{each.name}", action="append", default=[], metavar=each.name.upper(),
                help=f"{each.title.lower()}, with all that belongs to it: {each.asks_for}",
            )  # fmt: skip
        parser.add_argument("--where", default="", metavar="SQL", help="a condition on the table")
        parser.add_argument(
            "--columns", default="", metavar="A,B", help="set back these alone, of rows still there"
        )
        parser.add_argument(
            "--mode", choices=MODES, default="missing", help="which rows (default: missing)"
        )
        parser.add_argument("--exact", action="store_true", help="as it was: extra rows go")
        parser.add_argument(
            "--no-related", action="store_false", dest="related",
            help="leave what belongs to the rows (lines of an invoice) as it is",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="show the difference alone")
        parser.add_argument("--rows", type=int, metavar="N", help="show N rows of each table")
        parser.add_argument("--undo", type=int, metavar="ID", help="put back what it changed")
        parser.add_argument(
            "--despite-changes", action="store_true", help="leave rows as others changed them"
        )
        parser.add_argument("--list", action="store_true", help="list recoveries")
        parser.add_argument("--yes", action="store_true", help="do not ask; for scripts")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        word = _word(options)
        require_settings("BACKUP_", "DATABASE_")
        with as_owner_by_default(), told_plainly():
            try:
                self._do(word, options)
            except CancelledError:
                raise
            except OpsError as error:
                if options["json"]:
                    document = {"recovered": False, "error": str(error)}
                    self._out.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
                raise CommandError(str(error), returncode=_status(error)) from None

    def _do(self, word: str, options: dict[str, Any]) -> None:
        if options["list"]:
            recover_tables.show_list(self._out, Recovery.objects.newest_first()[:50], options)
        elif options["undo"] is not None:
            self._undo(options)
        else:
            self._recover(_request(word, options), options)

    def _recover(self, request: RecoverRequest, options: dict[str, Any]) -> None:
        asks = not (request.dry_run or options["yes"])
        if asks:
            what = f"Rows of {subject_words(request)} are changed (--dry-run shows which)."
            self._require_somebody(what)
        run = ask_for_recovery(request, by=Asker.of_command())
        samples = max(options["rows"] or 0, SAMPLES)
        shown: list[Recovery] = []

        def work(progress: Counter) -> Recovery:
            def confirm(row: Recovery, told: Progress) -> bool:
                shown.append(row)
                with paused(progress):
                    show_difference(self._err if options["json"] else self._out, row, options)
                    return self._is_confirmed(told)

            return recover(run, progress, samples=samples, confirm=confirm if asks else None)

        done = self._with_progress(work, options)
        if shown and done.state == RecoveryState.PREVIEWED:
            raise CommandError(_NOT_ITS_NAME, returncode=USAGE)
        recover_tables.show_recovery(self._out, done, options, is_shown=bool(shown))

    def _undo(self, options: dict[str, Any]) -> None:
        row = Recovery.objects.filter(pk=options["undo"]).first()
        if row is None:
            raise RefusedError(
                f"There is no recovery {options['undo']}. Nothing was changed. `manage.py recover "
                "--list` shows them."
            )
        if row.state == RecoveryState.APPLIED:
            self._ask(f"What {row} changed is put back as it was before.", options)
        run = ask_for_undo_recovery(
            row, by=Asker.of_command(), despite_changes=options["despite_changes"]
        )
        self._with_progress(lambda p: undo_recovery(run, p), options)
        recover_tables.show_recovery(self._out, Recovery.objects.get(run=run), options)

    def _with_progress(
        self, work: Callable[[Counter], Recovery], options: dict[str, Any]
    ) -> Recovery:
        with (
            make_progress(self._err, json=options["json"]) as progress,
            stopped_by_signals(progress),
        ):
            return work(progress)

    def _ask(self, what: str, options: dict[str, Any]) -> None:
        """Have the database's name typed. Raises CommandError."""
        if options["yes"]:
            return
        self._require_somebody(what)
        self.stderr.write(what)
        if not self._is_confirmed(Counter()):
            raise CommandError(_NOT_ITS_NAME, returncode=USAGE)

    def _require_somebody(self, what: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError(
                f"{what} Nothing was changed: nobody is there to confirm it. Scripts say --yes.",
                returncode=USAGE,
            )

    def _is_confirmed(self, progress: Progress) -> bool:
        """Have the database's name typed. Raises CancelledError."""
        database = str(connections[OWNER].settings_dict["NAME"])
        return is_confirmed(self._err, database, progress)

    @property
    def _out(self) -> IO[str]:
        return cast("IO[str]", self.stdout._out)

    @property
    def _err(self) -> IO[str]:
        return cast("IO[str]", self.stderr._out)


def _word(options: dict[str, Any]) -> str:
    """Return the backup or file that was named, or "" for the newest. Raises CommandError."""
    words = options["words"]
    sources = [*words, *filter(None, [options["latest"], options["to"], options["from_csv"]])]
    if len(sources) > 1:
        raise CommandError(
            "What to recover from is one of: BACKUP, FILE, --latest, --to T, --from-csv. Nothing "
            "was changed. `manage.py backups` lists the backups.",
            returncode=USAGE,
        )
    return words[0] if words else ""


def _request(word: str, options: dict[str, Any]) -> RecoverRequest:
    named = {each.name: tuple(options[each.name]) for each in subjects() if options[each.name]}
    # An account beside something else says whose that has to be.
    account = named.pop("account")[0] if len(named) > 1 and "account" in named else ""
    if len(named) > 1:
        raise CommandError(
            f"One at a time: {', '.join(f'--{name}' for name in named)}. Nothing was changed.",
            returncode=USAGE,
        )
    subject, keys = next(iter(named.items()), ("", ()))
    # As for restore: what is there as a file, or looks like a path.
    is_file = bool(word) and ("/" in word or Path(word).expanduser().is_file())
    return RecoverRequest(
        backup="" if is_file else word,
        file=str(Path(word).expanduser().absolute()) if is_file else "",
        moment=options["to"],
        csv=tuple(options["from_csv"]),
        tables=tuple(options["table"]),
        subject=subject,
        keys=keys,
        account=account,
        where=options["where"],
        columns=tuple(filter(None, (each.strip() for each in options["columns"].split(",")))),
        mode=options["mode"],
        exact=options["exact"],
        related=options["related"],
        dry_run=options["dry_run"],
    )


def _status(error: OpsError) -> int:
    if isinstance(error, (BusyError, ClosedError)):
        return BUSY
    # A backup that does not exist was never begun with.
    return USAGE if isinstance(error, RefusedError) or type(error) is BackupError else FAILED
