"""`manage.py verify`: look at backups again, down to the last byte or to a restore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.catalogue import find_backup, record_backup
from ops.backups.errors import BackupError
from ops.backups.inspection import read_manifest
from ops.backups.keys import opens_nothing_here
from ops.backups.manifest import FOLDER
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from ops.backups.wal.checking import ask_for_wal_check, check_wal
from ops.errors import OpsError
from ops.management import backup_tables
from ops.management.edge import (
    FAILED,
    USAGE,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.models import Backup, BackupCopy, BackupKind, BackupState
from ops.progress import CancelledError, Counter
from ops.rls.router import as_owner_by_default
from ops.runs import Asker

_HELP = """\
Check backups: each object whole and unchanged, and readable to its last byte; with --deep restored
into a scratch server, where every number of its manifest is compared. What was found is kept in the
catalogue, as the backup's state.

  verify                     the newest full backup; while there is none, the newest of any kind
  verify BACKUP …            these: a name, a part of one, the number in the list, or the path of a
                             manifest in a folder that `backup --output` was given
  verify --kind media        the newest of a kind
  verify --all               every one
  verify --wal               the WAL archive: segments that were stored since the last time, and
                             those that were bad; with --deep every one

Exit status: 0 all of them are good, 1 one is damaged, missing or disproven, 2 one could not be
looked at (or not be restored with --deep), or wrong usage, 130 interrupted. On a machine that is
set up without an identity (BACKUP_AGE_IDENTITY_FILES is empty; with GPG: no secret key of a
recipient is in the keyring) 0 says that signature, size and SHA-256 of what is stored are right;
what is in it has to be read where the identity is.
"""
UNCHECKED = USAGE
_SEALED = (
    "This machine has no identity or secret key, so backups were checked as they are stored: "
    "signature, size and SHA-256. Run `manage.py verify --latest --deep` or a drill where the "
    "identity is, on the same storage."
)
_BAD = (BackupState.FAILED, BackupState.MISSING)


@dataclass(frozen=True)
class _Outcome:
    """What became of one check."""

    checked: Backup | BackupCopy
    error: str = ""  # why it could not be looked at
    done: bool = True  # as much as was asked for
    sealed: bool = False  # whole as stored, and this machine has no identity that would open it

    @property
    def name(self) -> str:
        return _backup(self.checked).name

    @property
    def is_bad(self) -> bool:
        return not self.error and self.checked.state in _BAD

    def as_json(self) -> dict[str, Any]:
        checked = self.checked
        return {
            "name": self.name,
            "id": _backup(checked).pk,
            "storage": checked.storage,
            "state": checked.state,
            "note": checked.state_note,
            "checked": self.done and not self.error,
            "sealed": self.sealed,
            "error": self.error,
            "seconds": checked.check_seconds,
            "verified_at": checked.verified_at.isoformat() if checked.verified_at else None,
            "proven_at": checked.proven_at.isoformat() if checked.proven_at else None,
        }


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "verify")
        parser.add_argument("words", nargs="*", metavar="BACKUP")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--latest", action="store_true", help="the newest full one (default)")
        which.add_argument("--all", action="store_true", help="all of them, newest first")
        which.add_argument(
            "--wal", action="store_true", help="the WAL archive: what is new; with --deep all of it"
        )
        parser.add_argument("--kind", choices=BackupKind.values, help="of this kind alone")
        parser.add_argument("--copy", action="store_true", help="the off-site copies instead")
        parser.add_argument("--deep", action="store_true", help="restore and compare")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        words = list(options["words"])
        if words and (options["all"] or options["latest"] or options["kind"] or options["wal"]):
            raise CommandError(
                f"{words[0]} goes without --all, --latest, --kind and --wal. Nothing was checked.",
                returncode=USAGE,
            )
        if options["wal"] and (options["kind"] or options["copy"]):
            raise CommandError(
                "--wal reads every storage; leave out --kind and --copy. Nothing was checked.",
                returncode=USAGE,
            )
        require_settings("BACKUP_", "DATABASE_")
        if options["wal"]:
            self._check_wal(options)
            return
        try:
            with as_owner_by_default(), told_plainly():
                outcomes = self._check(list(_meant(words, options)), options)
        except CommandError as error:
            # A failure says nothing about any backup.
            code = UNCHECKED if error.returncode == FAILED else error.returncode
            raise CommandError(str(error), returncode=code) from None
        self._print(outcomes, options)
        if any(outcome.sealed for outcome in outcomes):
            self.stderr.write(_SEALED)
        _raise_for(outcomes)

    def _check(self, wanted: list[Backup | BackupCopy], options: dict[str, Any]) -> list[_Outcome]:
        outcomes = []
        err = cast("IO[str]", self.stderr._out)
        with (
            make_progress(err, json=options["json"]) as progress,
            stopped_by_signals(progress),
        ):
            for each in wanted:
                progress.check()
                outcomes.append(_check_one(each, progress, deep=options["deep"]))
        return outcomes

    def _check_wal(self, options: dict[str, Any]) -> None:
        err = cast("IO[str]", self.stderr._out)
        try:
            with (
                as_owner_by_default(),
                told_plainly(),
                make_progress(err, json=options["json"]) as progress,
                stopped_by_signals(progress),
            ):
                run = ask_for_wal_check(by=Asker.of_command(), everything=options["deep"])
                checked = check_wal(run, progress)
        except CommandError as error:
            code = UNCHECKED if error.returncode == FAILED else error.returncode
            raise CommandError(str(error), returncode=code) from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(checked), ensure_ascii=False, indent=2))
        else:
            for each in checked.bad:
                self.stdout.write(f"{each.segment} in {each.storage}: {each.why}")
            self.stdout.write(str(checked))
        if checked.bad:
            raise CommandError(
                "No moment behind a damaged or missing segment can be restored, up to the next "
                "base backup. Take one now: manage.py backup --base",
                returncode=FAILED,
            )

    def _print(self, outcomes: list[_Outcome], options: dict[str, Any]) -> None:
        if options["json"]:
            document = [outcome.as_json() for outcome in outcomes]
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
            return
        out = backup_tables.console(cast("IO[str]", self.stdout._out))
        backup_tables.show_checks(
            out, [(outcome.checked, outcome.name, outcome.error) for outcome in outcomes]
        )


def _check_one(checked: Backup | BackupCopy, progress: Counter, *, deep: bool) -> _Outcome:
    run = ask_for_verification(checked, by=Asker.of_command(), deep=deep)
    try:
        found = verify_backup(run, progress)
    except CancelledError:
        raise
    except OpsError as error:
        progress.say(f"{run.subject}: {error}")
        return _Outcome(checked, error=str(error))
    since = found.proven_at if deep else found.verified_at
    foreign = _backup(found).kind == BackupKind.FOREIGN
    done = foreign or since == found.checked_at
    return _Outcome(found, done=done, sealed=not (done or deep) and _is_sealed(found))


def _is_sealed(found: Backup | BackupCopy) -> bool:
    """Tell whether this machine is set up so that it can't open the backup, as servers may be."""
    backup = _backup(found)
    recipients = [
        each
        for stored in backup.manifest.get("objects", [])
        for each in stored.get("recipients", [])
    ]
    return found.state not in _BAD and opens_nothing_here(backup.encryption, recipients)


def _raise_for(outcomes: list[_Outcome]) -> None:
    bad = [outcome.name for outcome in outcomes if outcome.is_bad]
    unchecked = [
        outcome.name
        for outcome in outcomes
        if outcome.error or not (outcome.done or outcome.sealed)
    ]
    if bad:
        raise CommandError(
            f"{_told(bad)} can't be relied on. Take a new one now (`manage.py backup`), and see "
            "above what is wrong.",
            returncode=FAILED,
        )
    if unchecked:
        raise CommandError(
            f"{_told(unchecked)} could not be checked as asked, so nothing new is known; see above "
            "why.",
            returncode=UNCHECKED,
        )


def _told(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} backups"


def _meant(words: list[str], options: dict[str, Any]) -> Iterator[Backup | BackupCopy]:
    """Yield what is to be checked. Raises CommandError when that is nothing."""
    try:
        backups = [_named(word) for word in words] or _chosen(options)
    except BackupError as error:
        raise CommandError(str(error), returncode=USAGE) from None
    if not backups:
        raise CommandError(
            f"There is no such backup of {settings.ENVIRONMENT} yet. Nothing was checked. "
            "`manage.py backup` takes one; `--all` checks those of other environments.",
            returncode=UNCHECKED,
        )
    if not options["copy"]:
        yield from backups
        return
    copies = BackupCopy.objects.select_related("backup").filter(backup__in=backups)
    found = sorted(copies, key=lambda copy: backups.index(copy.backup))
    if not found:
        raise CommandError("There is no off-site copy of that. Nothing was checked.", returncode=2)
    yield from found


def _chosen(options: dict[str, Any]) -> list[Backup]:
    found = Backup.objects.newest_first()
    if options["kind"]:
        found = found.of_kind(options["kind"])
    if options["all"]:
        return list(found)
    # Of this environment: a catalogue that was copied holds those of another, which say nothing.
    found = found.of_environment(settings.ENVIRONMENT)
    if not options["kind"]:
        # What a restore would take; an empty media backup of a minute later is not that.
        if newest := found.of_kind(BackupKind.FULL).first():
            return [newest]
        found = found.exclude(kind=BackupKind.FOREIGN)
    return list(found[:1])


def _named(word: str) -> Backup:
    if not word.endswith(".json"):
        return find_backup(word)
    path = Path(word).expanduser().absolute()
    row = Backup.objects.filter(name=path.stem).first()
    folder = path.parent.parent
    if path.parent.name != FOLDER:
        raise BackupError(
            f"{word} is no manifest: it has to be DIR/{FOLDER}/NAME.json. Nothing was checked."
        )
    if row is None:
        manifest = read_manifest(path.stem, Vault.folder(folder))
        if manifest.parent and not Backup.objects.filter(name=manifest.parent).exists():
            raise BackupError(
                f"{path.stem} adds to {manifest.parent}, which is not in the catalogue. Nothing "
                "was checked. Name that one's manifest first."
            )
        return record_backup(manifest, str(folder))
    if Path(row.storage) != folder:
        raise BackupError(
            f"{row.name} is in the catalogue as one in {row.storage}, not in {folder}. Nothing was "
            f"checked. `manage.py verify {row.name}` checks that one."
        )
    return row


def _backup(checked: Backup | BackupCopy) -> Backup:
    return checked.backup if isinstance(checked, BackupCopy) else checked
