"""`manage.py backups`: what there is, how much is known about it, and what may go."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils import timezone

from ops.backups import pins
from ops.backups.catalogue import find_backup
from ops.backups.errors import BackupError
from ops.backups.retention import Pruned, ask_to_prune, delete_backup, plan_pruning, prune
from ops.management import backup_tables
from ops.management.edge import (
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.models import Backup, BackupKind, BackupState, Run, RunKind
from ops.progress import Counter
from ops.readiness.reading import readiness
from ops.readiness.sentences import sentence
from ops.rls.router import OWNER_ALIAS, as_owner_by_default
from ops.runs import Asker, ask, ask_to_cancel, left_behind
from ops.words import size

_HELP = """\
List backups and how much is known about each.

  backups                           what there is, newest first
  backups show ID                   one of them, table by table
  backups pin ID --reason WHY       keep it for ever;  backups unpin ID
  backups delete ID                 delete it and its copies, after a question
  backups cancel RUN                ask a run that is going on to stop
  backups --prune [--dry-run]       delete what the plan no longer keeps, after a question
  backups --rebuild                 read the catalogue anew from the storage

ID is the number in the list, a backup's name, or a part of it that no other has.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""
_VERBS = ("show", "pin", "unpin", "delete", "cancel")


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "backups")
        parser.add_argument("words", nargs="*", metavar="VERB ID", help=", ".join(_VERBS))
        parser.add_argument("--kind", choices=BackupKind.values, help="list this kind alone")
        parser.add_argument("--state", choices=BackupState.values, help="list this state alone")
        parser.add_argument("--limit", type=int, default=50, help="list so many at most (50)")
        parser.add_argument("--reason", default="", help="why a backup is pinned")
        work = parser.add_mutually_exclusive_group()
        work.add_argument("--prune", action="store_true", help="delete what the plan lets go")
        work.add_argument("--rebuild", action="store_true", help="read the storage anew")
        parser.add_argument("--dry-run", action="store_true", help="say what --prune would do")
        parser.add_argument("--yes", action="store_true", help="ask nothing, for scripts")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        verb, target = _parsed(options["words"])
        if verb and (options["prune"] or options["rebuild"]):
            raise CommandError(f"{verb} goes alone. Nothing was done.", returncode=USAGE)
        if options["dry_run"] and not options["prune"]:
            raise CommandError("--dry-run belongs to --prune. Nothing was done.", returncode=USAGE)
        require_settings("BACKUP_", "DATABASE_")
        with as_owner_by_default(), told_plainly():
            if options["prune"]:
                self._prune(options)
            elif options["rebuild"]:
                self._rebuild(options)
            elif verb == "cancel":
                self._cancel(target)
            elif verb:
                self._on_one(verb, target, options)
            else:
                self._list(options)

    # --- seeing --------------------------------------------------------------------------------

    def _list(self, options: dict[str, Any]) -> None:
        found = Backup.objects.newest_first().prefetch_related("copies").defer("manifest")
        if options["kind"]:
            found = found.of_kind(options["kind"])
        if options["state"]:
            found = found.filter(state=options["state"])
        backups = list(found[: max(0, options["limit"])])
        if options["json"]:
            self._print_json([_as_json(backup) for backup in backups])
        elif backups:
            told = sentence(readiness())
            backup_tables.show_list(self._console(), backups, timezone.now(), told)
        elif Backup.objects.exists():
            self.stdout.write("No backup is like that.")
        else:
            self.stdout.write("No backups yet. `manage.py backup` takes the first.")

    def _show(self, backup: Backup, options: dict[str, Any]) -> None:
        if options["json"]:
            self._print_json(backup.manifest)
            return
        runs = backup.runs.newest_first()[:20]
        backup_tables.show_one(self._console(), backup, runs, timezone.now())

    # --- one backup ----------------------------------------------------------------------------

    def _on_one(self, verb: str, target: str, options: dict[str, Any]) -> None:
        try:
            backup = find_backup(target)
        except BackupError as error:
            raise CommandError(str(error), returncode=USAGE) from None
        if verb == "show":
            self._show(backup, options)
        elif verb == "pin":
            pins.pin(backup, reason=options["reason"], by=Asker.of_command())
            self.stdout.write(f"{backup.name} is pinned: it stays until it is unpinned.")
        elif verb == "unpin":
            pins.unpin(backup, by=Asker.of_command())
            self.stdout.write(f"{backup.name} is no longer pinned: the plan decides about it.")
        else:
            self._delete(backup, options)

    def _delete(self, backup: Backup, options: dict[str, Any]) -> None:
        told = f"{backup.name} ({size(backup.size)}) and its copies will be gone for good."
        self._confirm(told, options)
        self._work(options, lambda progress: delete_backup(
            backup, by=Asker.of_command(), progress=progress
        ))  # fmt: skip
        self.stdout.write(f"{backup.name} is deleted.")

    def _cancel(self, target: str) -> None:
        run = Run.objects.filter(pk=int(target)).first() if target.isdecimal() else None
        if run is None:
            raise CommandError(
                f"There is no run {target!r}. Nothing was done. `manage.py backup` says its number "
                "when another one is in its way.",
                returncode=USAGE,
            )
        if ask_to_cancel(run, by=Asker.of_command().name):
            told = "is asked to stop, and does at its next step."
        else:
            told = f"had died: nobody carries it out. It is ended now. {left_behind(run)}"
        self.stdout.write(f"{run} (run {run.pk}) {told}")

    # --- all of them ---------------------------------------------------------------------------

    def _prune(self, options: dict[str, Any]) -> None:
        dry_run = options["dry_run"]
        if not dry_run:
            going = [each for each in plan_pruning(timezone.now()) if not each.keep]
            names = "\n".join(f"  {each.backup.name}: {each.reason}" for each in going)
            self._confirm(f"{len(going)} backups will be gone for good.\n{names}".rstrip(), options)
        run = ask_to_prune(by=Asker.of_command())
        pruned = self._work(options, lambda progress: prune(run, dry_run, progress))
        if options["json"]:
            self._print_json(_pruned_as_json(pruned, dry_run=dry_run))
            return
        for decision in pruned.decisions if dry_run else pruned.deleted:
            self.stdout.write(f"{decision.backup.name} in {decision.storage}: {decision}")
        for vault, leftover in pruned.leftovers:
            self.stdout.write(f"in {vault.label}: {leftover}")
        if pruned.skipped:
            self.stdout.write(pruned.skipped)
        self.stdout.write(f"{'Would delete' if dry_run else 'Deleted'} {pruned}.")

    def _rebuild(self, options: dict[str, Any]) -> None:
        from ops.backups.rebuild import rebuild

        run = ask(RunKind.REBUILD, "", by=Asker.of_command())
        self._work(options, lambda progress: rebuild(run, progress))
        run.refresh_from_db()
        if options["json"]:
            self._print_json({"rebuilt": True, "message": run.message})
        else:
            self.stdout.write(run.message or "The catalogue is what the storage holds.")

    # --- the terminal --------------------------------------------------------------------------

    def _work[Outcome](
        self, options: dict[str, Any], work: Callable[[Counter], Outcome]
    ) -> Outcome:
        err = cast("IO[str]", self.stderr._out)
        with (
            make_progress(err, json=options["json"]) as progress,
            stopped_by_signals(progress),
        ):
            return work(progress)

    def _confirm(self, told: str, options: dict[str, Any]) -> None:
        """Let the operator type the database's name. Raises CommandError for anything else."""
        if options["yes"]:
            return
        name = str(connections[OWNER_ALIAS].settings_dict["NAME"])
        if not sys.stdin.isatty():
            raise CommandError(
                f"{told}\nNothing was deleted: nobody is there to ask. Add --yes, or --dry-run to "
                "see the plan.",
                returncode=USAGE,
            )
        self.stderr.write(told)
        if input(f"Type the database's name ({name}) to go on: ").strip() != name:
            raise CommandError("That is not its name. Nothing was deleted.", returncode=USAGE)

    def _console(self) -> Any:
        return backup_tables.console(cast("IO[str]", self.stdout._out))

    def _print_json(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))


def _parsed(words: list[str]) -> tuple[str, str]:
    """Return verb and target. Raises CommandError."""
    verb, *rest = words or [""]
    if verb and verb not in _VERBS:
        raise CommandError(
            f"{verb!r} is none of {', '.join(_VERBS)}. Nothing was done.", returncode=USAGE
        )
    if len(rest) != (1 if verb else 0):
        raise CommandError(
            f"`backups {verb}` takes one {'RUN' if verb == 'cancel' else 'ID'}. Nothing was done.",
            returncode=USAGE,
        )
    return verb, rest[0] if rest else ""


def _as_json(backup: Backup) -> dict[str, Any]:
    moments = ("taken_at", "finished_at", "checked_at", "verified_at", "proven_at", "pinned_at")
    return {
        "id": backup.pk,
        "name": backup.name,
        "kind": backup.kind,
        "state": backup.state,
        "state_note": backup.state_note,
        "environment": backup.environment,
        "database": backup.database,
        "server_version": backup.server_version,
        "storage": backup.storage,
        "size": backup.size,
        "raw_size": backup.raw_size,
        "tables": backup.tables,
        "rows": backup.rows,
        "seconds": backup.seconds,
        "encryption": backup.encryption,
        "parent": backup.parent_id,
        "pin_reason": backup.pin_reason,
        **{name: _iso(getattr(backup, name)) for name in moments},
        "copies": [
            {"storage": copy.storage, "state": copy.state, "copied_at": _iso(copy.copied_at)}
            for copy in backup.copies.all()
        ],
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat())


def _pruned_as_json(pruned: Pruned, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "decisions": [
            {
                "name": each.backup.name,
                "storage": each.storage,
                "keep": each.keep,
                "reason": each.reason,
            }
            for each in pruned.decisions
        ],
        "leftovers": [
            {"storage": vault.label, "name": leftover.name, "what": leftover.what}
            for vault, leftover in pruned.leftovers
        ],
        "segments": len(pruned.segments),
        "freed": pruned.freed,
        "skipped": pruned.skipped,
    }
