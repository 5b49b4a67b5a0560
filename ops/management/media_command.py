"""`manage.py restore --media`: uploaded files back from a backup, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from ops.backups.catalogue import find_backup
from ops.backups.media_restore.differences import Differences
from ops.management import media_tables
from ops.management.confirming import is_confirmed
from ops.management.edge import FAILED, USAGE, stopped_by_signals
from ops.management.progress import make_progress, paused
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter, Progress
from ops.restores.complete import bare
from ops.restores.errors import RefusedError
from ops.restores.media.kept import kept_files, kept_of
from ops.restores.media.restoring import (
    ask_for_media_restore,
    ask_for_media_undo,
    restore_uploads,
    undo_media_restore,
)
from ops.restores.requests import MediaRequest
from ops.runs import OWNER, Asker

# Of a database alone, and what the parser makes of them when they are not given.
_OF_A_DATABASE = {
    "to": "", "as_name": "", "empty": False, "despite_invariants": False, "safety_backup": True,
    "jobs": 2,
}  # fmt: skip
_OF_FILES = ("file", "only_missing", "exact")


def add_arguments(parser: CommandParser) -> None:
    """Add what `restore` takes for uploaded files."""
    parser.add_argument("--media", action="store_true", help="uploaded files, not the database")
    parser.add_argument(
        "--file", action="append", default=[], metavar="F",
        help="with --media: this file alone, a folder, or a pattern; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--only-missing", action="store_true", help="with --media: leave files that are there"
    )
    parser.add_argument(
        "--exact", action="store_true", help="with --media: remove files that the backup has not"
    )


def require_fitting(options: dict[str, Any]) -> None:
    """Refuse options that say nothing about what is restored. Raises CommandError."""
    if options["media"]:
        wrong = [name for name, value in _OF_A_DATABASE.items() if options[name] != value]
        said = "are for the database, and go without --media"
    else:
        wrong = [name for name in _OF_FILES if options[name]]
        said = "are for uploaded files, and go with --media"
    if wrong:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        named = named.replace("--as-name", "--as").replace("--safety", "--no-safety")
        raise CommandError(f"{named} {said}. Nothing was done.", returncode=USAGE)


class MediaRestore:
    """One call of the command, with --media."""

    def __init__(self, out: IO[str], err: IO[str], options: dict[str, Any]) -> None:
        self.out, self.err, self.options = out, err, options
        self.database = Endpoint.of(OWNER).database

    def carry_out(self, word: str) -> None:
        """Do what was asked for. Raises OpsError and CommandError."""
        if self.options["list"]:
            media_tables.show_kept(self.out, kept_files(), self.options)
            return
        if bare.is_bare():
            raise RefusedError(
                f"{self.database} has no catalogue yet, and says nothing of the files. Nothing was "
                "changed. Restore the database first (`manage.py restore --latest`), or `manage.py "
                "migrate` and `manage.py backups --rebuild`."
            )
        if self.options["undo"] is not None:
            self._undo()
        else:
            self._restore(self._request(word))

    def _request(self, word: str) -> MediaRequest:
        is_file = bool(word) and (Path(word).expanduser().is_file() or "/" in word)
        return MediaRequest(
            backup=find_backup(word).name if word and not is_file else "",
            file=str(Path(word).expanduser().absolute()) if is_file else "",
            names=tuple(self.options["file"]),
            only_missing=self.options["only_missing"],
            exact=self.options["exact"],
            other_environment=self.options["other_environment"],
            dry_run=self.options["dry_run"],
        )

    def _restore(self, request: MediaRequest) -> None:
        asks = not (request.dry_run or self.options["yes"])
        if asks:
            self._require_somebody("Uploaded files are replaced (--dry-run shows which).")
        run = ask_for_media_restore(request, by=Asker.of_command())
        refused: list[bool] = []

        def work(progress: Counter) -> Any:
            def confirm(found: Differences, told: Progress) -> bool:
                with paused(progress):
                    media_tables.show_differences(
                        self.err, found, only_missing=request.only_missing, exact=request.exact
                    )
                    choices = request.choices
                    if not (found.to_write(choices) or found.to_remove(choices)):
                        return True  # nothing to ask about
                    if not is_confirmed(self.err, self.database, told):
                        refused.append(True)
                        return False
                return True

            return restore_uploads(run, progress, confirm=confirm if asks else None)

        done = self._with_progress(work)
        if refused:
            raise CommandError("That is not its name. Nothing was changed.", returncode=USAGE)
        media_tables.show_outcome(self.out, done, request, self.options)
        if done.restored.left:
            raise CommandError(
                "Some files were changed by others meanwhile and left as they are. Run this again "
                "to see how they differ.",
                returncode=FAILED,
            )

    def _undo(self) -> None:
        number = self._undo_number()
        found = kept_of(number)
        if self.options["dry_run"]:
            self.out.write(
                f"{found.files:,} files would be as they were before restore {found.run} from "
                f"{found.origin}, but for those that others changed since.\n"
            )
            return
        if not self.options["yes"]:
            what = f"Uploaded files are as before restore {found.run} again."
            self._require_somebody(what)
            self.err.write(f"{what}\n")
            if not is_confirmed(self.err, self.database, Counter()):
                raise CommandError("That is not its name. Nothing was changed.", returncode=USAGE)
        run = ask_for_media_undo(found.run, by=Asker.of_command())
        done, note = self._with_progress(lambda progress: undo_media_restore(run, progress))
        media_tables.show_undone(self.out, done, note, self.options)
        if done.left:
            raise CommandError(
                "Files that others have changed since were left as they are.", returncode=FAILED
            )

    def _undo_number(self) -> int | None:
        text = self.options["undo"]
        if text and not (text.isdecimal() and len(text) < 19):
            raise RefusedError(
                f"{text!r} is not the number of a restore. Nothing was changed. `manage.py restore "
                "--media --list` shows them."
            )
        return int(text) if text else None

    def _with_progress(self, work: Callable[[Counter], Any]) -> Any:
        with (
            make_progress(self.err, json=self.options["json"]) as progress,
            stopped_by_signals(progress),
        ):
            return work(progress)

    def _require_somebody(self, what: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError(
                f"{what} Nothing was changed: nobody is there to confirm it. Scripts say --yes.",
                returncode=USAGE,
            )
