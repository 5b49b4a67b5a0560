"""`manage.py restore`: the whole database, from a backup, a file or a moment; and the way back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.errors import BackupError, BusyError
from ops.errors import OpsError
from ops.management import media_command, restore_tables
from ops.management.edge import (
    BUSY,
    FAILED,
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.models import Restore, RestoreState
from ops.progress import Counter
from ops.restores.complete import bare
from ops.restores.complete.preflight import Plan
from ops.restores.complete.restore import ask_for_restore, dry_run, restore
from ops.restores.complete.sources import Source
from ops.restores.errors import RefusedError
from ops.restores.past.pasts import newest_full_backup
from ops.restores.requests import RestoreRequest
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER, Asker

_HELP = """\
Restore the whole database: into a new one beside it, compared there with what the backup proves,
and swapped in when everything is equal. What it replaces is backed up first and kept. How that
works, and what to do on a server that has nothing, is in docs/restores.md.

  restore BACKUP             a name, a part of one, or the number in `manage.py backups`
  restore FILE               a dump that others made, or one of ours with its manifest beside it
  restore --latest           the newest full backup
  restore --to TIME          a moment: a time, a WAL position, the name of a restore point
  restore --latest --as NAME leave it beside under this name, and touch nothing else
  restore --undo [ID]        put the former database back
  restore --list             what was restored, and which former databases are kept
  restore --media --latest   uploaded files, from the newest media backup: what is missing comes
                             back, what differs is replaced and kept, the others stay
  restore --media --undo     put former files back; --list shows of which restores

Exit status: 0 done, 1 failed or not equal and the live database untouched, 2 refused before
anything began, or wrong usage, 4 another restore or backup is going on, 130 interrupted.
"""
_MOST_JOBS = 32


class Command(BaseCommand):
    help = _HELP
    # A server that has nothing yet passes no check of the database.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "restore")
        parser.add_argument("words", nargs="*", metavar="BACKUP|FILE")
        parser.add_argument("--latest", action="store_true", help="the newest full backup")
        parser.add_argument("--to", default="", metavar="T", help="a moment (point in time)")
        parser.add_argument("--as", default="", dest="as_name", metavar="NAME", help="beside only")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and why")
        parser.add_argument("--yes", action="store_true", help="do not ask; for scripts")
        parser.add_argument(
            "--other-environment", action="store_true", help="a backup of another environment"
        )
        parser.add_argument("--empty", action="store_true", help="a backup without rows")
        parser.add_argument(
            "--despite-invariants", action="store_true", help="data that contradicts itself"
        )
        parser.add_argument(
            "--no-safety-backup", action="store_false", dest="safety_backup",
            help="do not back up what it replaces (the former database is kept in any case)",
        )  # fmt: skip
        parser.add_argument("--jobs", type=_jobs, default=2, metavar="N", help="sessions (2)")
        parser.add_argument(
            "--undo", nargs="?", const="", metavar="ID", help="put the former database back"
        )
        parser.add_argument("--list", action="store_true", help="list restores")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
        media_command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        word = _word(options)
        media_command.require_fitting(options)
        require_settings("BACKUP_", "DATABASE_")
        with as_owner_by_default(), told_plainly():
            try:
                self._do(word, options)
            except OpsError as error:
                self._print_failure(error, options)
                raise CommandError(str(error), returncode=_status(error)) from None

    def _do(self, word: str, options: dict[str, Any]) -> None:
        _heal()
        if options["media"]:
            err = cast("IO[str]", self.stderr._out)
            media_command.MediaRestore(self._out, err, options).carry_out(word)
            return
        if options["list"]:
            restore_tables.show_list(self._out, Restore.objects.newest_first()[:50], options)
            return
        if options["undo"] is not None:
            self._undo(options)
            return
        is_bare = bare.is_bare()
        request, source = _request(word, options, is_bare=is_bare)
        plan = bare.plan_bare(source, request) if is_bare else dry_run(request)
        if options["dry_run"]:
            restore_tables.show_plan(self._out, plan, options)
            plan.require()
            return
        plan.require()
        if not options["as_name"]:
            self._confirm(plan, options)
        done = self._with_progress(
            lambda progress: (
                bare.restore_bare(source, request, by=Asker.of_command(), progress=progress)
                if is_bare
                else restore(ask_for_restore(request, by=Asker.of_command()), progress)
            ),
            options,
        )
        restore_tables.show_outcome(self._out, done, options)

    def _undo(self, options: dict[str, Any]) -> None:
        from ops.restores.complete.undo import ask_for_undo, undo_restore

        row = _undoable(options["undo"])
        if options["dry_run"]:
            self._out.write(f"{row.kept_database} would take the place of {row.database} again.\n")
            return
        self._ask(
            row.database,
            f"{row.kept_database} takes the place of {row.database} again: what was written since "
            f"{row.swapped_at:%Y-%m-%d %H:%M} UTC is kept beside.",
            options,
        )
        done = self._with_progress(
            lambda progress: undo_restore(ask_for_undo(row, by=Asker.of_command()), progress),
            options,
        )
        restore_tables.show_outcome(self._out, done, options)

    def _with_progress(
        self, work: Callable[[Counter], Restore], options: dict[str, Any]
    ) -> Restore:
        err = cast("IO[str]", self.stderr._out)
        with make_progress(err, json=options["json"]) as progress, stopped_by_signals(progress):
            return work(progress)

    def _confirm(self, plan: Plan, options: dict[str, Any]) -> None:
        if not options["yes"]:
            restore_tables.show_plan(cast("IO[str]", self.stderr._out), plan, {"json": False})
        self._ask(plan.live, f"All of {plan.live} is replaced by {plan.origin}.", options)

    def _ask(self, database: str, what: str, options: dict[str, Any]) -> None:
        """Have the database's name typed. Raises CommandError."""
        if options["yes"]:
            return
        if not sys.stdin.isatty():
            raise CommandError(
                f"{what} Nothing was changed: nobody is there to confirm it. Scripts say --yes.",
                returncode=USAGE,
            )
        self.stderr.write(what)
        typed = input(f"Type the name of the database ({database}) to go on: ")
        if typed.strip() != database:
            raise CommandError("That is not its name. Nothing was changed.", returncode=USAGE)

    def _print_failure(self, error: Exception, options: dict[str, Any]) -> None:
        if options["json"]:
            self._out.write(json.dumps({"restored": False, "error": str(error)}, indent=2) + "\n")

    @property
    def _out(self) -> IO[str]:
        return cast("IO[str]", self.stdout._out)


def _word(options: dict[str, Any]) -> str:
    """Return the backup or file that was named, or "". Raises CommandError."""
    words = options["words"]
    what = [*words, *(["--latest"] if options["latest"] else []), options["to"]]
    chosen = len([each for each in what if each])
    if options["list"] or options["undo"] is not None:
        if chosen:
            raise CommandError(
                "--list and --undo go without BACKUP, FILE, --latest and --to. Nothing was done.",
                returncode=USAGE,
            )
        return ""
    if chosen != 1:
        raise CommandError(
            "What to restore from has to be one of: BACKUP, FILE, --latest, --to T. Nothing was "
            "done. `manage.py backups` lists the backups.",
            returncode=USAGE,
        )
    return words[0] if words else ""


def _request(
    word: str, options: dict[str, Any], *, is_bare: bool
) -> tuple[RestoreRequest, Source | None]:
    """Return what is asked for and, where no catalogue knows it, the backup in the storage."""
    names = ("as_name", "other_environment", "empty", "despite_invariants", "safety_backup", "jobs")
    choices = {name: options[name] for name in names}
    if options["to"]:
        return RestoreRequest(moment=options["to"], **choices), None
    if word and (Path(word).expanduser().is_file() or "/" in word):
        path = str(Path(word).expanduser().absolute())
        return RestoreRequest(file=path, **choices), None
    if is_bare:
        source = bare.bare_source(word)
        return RestoreRequest(backup=source.manifest.name, **choices), source
    return RestoreRequest(backup=word or newest_full_backup().name, **choices), None


def _undoable(text: str) -> Restore:
    rows = Restore.objects.newest_first()
    if text:
        row = rows.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None
    else:
        row = rows.filter(state=RestoreState.SWAPPED).first()
    if row is None:
        raise RefusedError(
            f"There is no restore{f' {text}' if text else ''} to undo. Nothing was changed. "
            "`manage.py restore --list` shows them."
        )
    return row


def _heal() -> None:
    """Open a live database that a crash of the server left closed in the middle of a swap."""
    from ops.postgres.endpoint import Endpoint
    from ops.restores.complete.swap import reopen_if_closed

    reopen_if_closed(Endpoint.of(OWNER))


def _status(error: OpsError) -> int:
    from ops.progress import CancelledError

    if isinstance(error, CancelledError):
        raise error
    if isinstance(error, BusyError):
        return BUSY
    # A backup that does not exist was never begun with.
    if isinstance(error, RefusedError) or type(error) is BackupError:
        return USAGE
    return FAILED


def _jobs(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_JOBS}")
    return number
