"""A restore of uploaded files: what would change is known first, and what changed can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.files.storage import storages

from ops.backups import keys
from ops.backups.lock import one_at_a_time
from ops.backups.media_restore.differences import Differences, some
from ops.backups.media_restore.journal import PutBack, put_back
from ops.backups.media_restore.places import place_of
from ops.backups.media_restore.procedure import Confirm, Folders, Restored, restore_media
from ops.models import Backup, BackupKind, BackupState, Run, RunKind
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter, Progress, Several
from ops.restores import approval
from ops.restores.complete.fetching import private_folder
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.sources import Source, known_source
from ops.restores.errors import RefusedError
from ops.restores.media.kept import drop_if_empty, kept_of, make_folder, tidy
from ops.restores.requests import MediaRequest, RestoreRequest
from ops.runs import OWNER, Asker, ask, running

_MOST_NAMES = 100  # of each group, in the run's row


@dataclass(frozen=True)
class MediaOutcome:
    """What became of a restore of uploaded files, or of its preview."""

    run: int
    origin: str
    holds: datetime
    restored: Restored
    note: str


def ask_for_media_restore(request: MediaRequest, *, by: Asker) -> Run:
    """Record that uploaded files are to be restored; `restore_uploads` does it.

    Raises OpsError when that backup does not exist, is none of uploaded files, or can't be trusted.
    """
    if request.only_missing and request.exact:
        raise RefusedError("--only-missing and --exact contradict each other. Nothing was changed.")
    if not (request.backup or request.file):
        request = replace(request, backup=_newest().name)
    source = _source(request)
    arguments = request.as_json()
    return ask(RunKind.RESTORE, source.origin, by=by, arguments=arguments, backup=source.row)


def restore_uploads(
    run: Run, progress: Progress | None = None, *, confirm: Confirm | None = None
) -> MediaOutcome:
    """Restore the uploaded files that a run asks for, or look what would change.

    `confirm` is asked once that is known; where it says no, nothing is changed. Raises OpsError:
    the uploaded files are as they were then.
    """
    told = progress or Counter()
    approval.require(run, told)
    request = MediaRequest.of_run(run)
    with running(run) as own, _alone(run):
        told = Several(own, told)
        tidy()
        source = _source(request)
        restored = _restore(run, request, source, told, confirm)
        note = _note(source, request, restored)
        own.result = {"uploads": _result(restored)}
        own.say(note)
        return MediaOutcome(run.pk, source.origin, source.holds, restored, note)


def ask_for_media_undo(number: int | None, *, by: Asker) -> Run:
    """Record that a restore of uploaded files is to be taken back, None: the newest.

    Raises RefusedError when what it replaced is not kept any more.
    """
    found = kept_of(number)
    return ask(
        RunKind.UNDO, f"restore {found.run} of uploaded files", by=by,
        arguments={"uploads": found.run},
    )  # fmt: skip


def undo_media_restore(run: Run, progress: Progress | None = None) -> tuple[PutBack, str]:
    """Put back what a restore of uploaded files replaced; returns what came of it, and a sentence.

    Files that others have changed since stay as they are. Raises OpsError; run again, it goes on
    from where it was.
    """
    told = progress or Counter()
    approval.require(run, told)
    with running(run) as own, _alone(run):
        found = kept_of(int(run.arguments["uploads"]))
        done = put_back(found.folder, place_of(storages["default"]), Several(own, told))
        note = f"As before restore {found.run} again. Files put back: {len(done.returned):,}."
        if done.left:
            note += f" Changed by others since, and left as they are: {some(done.left)}."
        own.say(note)
        return done, note


def _restore(
    run: Run, request: MediaRequest, source: Source, told: Progress, confirm: Confirm | None
) -> Restored:
    def asked(differences: Differences, progress: Progress) -> bool:
        if differences.unknown:
            raise RefusedError(
                f"{source.manifest.name} has no file {some(differences.unknown)}. Nothing was "
                "changed. `--dry-run --json` without --file lists what it has that is not here."
            )
        return not request.dry_run and (confirm is None or confirm(differences, progress))

    about = {
        "run": run.pk,
        "origin": source.origin,
        "begun": datetime.now(UTC).isoformat(),
    }
    kept = make_folder(run.pk)
    try:
        with private_folder(f"files-{run.pk}") as folder:
            unpacked = folder / "unpacked"
            unpacked.mkdir(mode=0o700)
            folders = Folders(unpacked, kept, about)
            place = place_of(storages["default"])
            return restore_media(
                source.manifest, source.vault, place, request.choices, folders, told, confirm=asked
            )
    finally:
        drop_if_empty(kept)


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Keep out other restores, and media backups, which would hold some files of either state."""
    with one_restore_at_a_time(Endpoint.of(OWNER), run), one_at_a_time(BackupKind.MEDIA, run):
        yield


def _newest() -> Backup:
    own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
    newest = own.of_kind(BackupKind.MEDIA).newest_first().first()
    if newest is None:
        raise RefusedError(
            f"There is no good media backup of {settings.ENVIRONMENT} in the catalogue. Nothing "
            "was changed. `manage.py backups --rebuild` reads the storage again."
        )
    return newest


def _source(request: MediaRequest) -> Source:
    """Return the backup to restore from. Raises OpsError when there is a reason against it."""
    row = Backup.objects.filter(name=request.backup).first() if request.backup else None
    source = None
    if row is None or row.kind != BackupKind.FOREIGN:
        source = known_source(RestoreRequest(backup=request.backup, file=request.file))
    if source is None:
        raise RefusedError(
            f"{request.backup or request.file} has no manifest, so nothing proves what is in it. "
            "No uploaded file was changed. `manage.py mediarestore --input-path FILE` of "
            "django-dbbackup unpacks a tar that others made."
        )
    _require_fit(source, request)
    return source


def _require_fit(source: Source, request: MediaRequest) -> None:
    manifest, row = source.manifest, source.row
    if manifest.kind != BackupKind.MEDIA:
        raise RefusedError(
            f"{manifest.name} is a {manifest.kind} backup, and holds no uploaded files. Nothing "
            "was changed. `manage.py backups --kind media` lists those that do."
        )
    if row is not None and (row.state == BackupState.FAILED or row.disproven_at is not None):
        raise RefusedError(
            f"{row.name} failed its last check: {row.state_note} No uploaded file was changed. "
            "`manage.py backups --kind media` lists the others."
        )
    if manifest.environment != settings.ENVIRONMENT and not request.other_environment:
        raise RefusedError(
            f"{manifest.name} is of the environment {manifest.environment}, and this is "
            f"{settings.ENVIRONMENT}: its customers' files would be here. No uploaded file was "
            "changed. Confirm that by --other-environment."
        )
    for stored in manifest.objects:
        if stored.encryption == "age":
            keys.require_identities(stored.recipients)


def _note(source: Source, request: MediaRequest, restored: Restored) -> str:
    found = restored.differences
    counts = (
        f"missing here: {len(found.missing):,}, different: {len(found.changed):,}, equal: "
        f"{found.same:,}, not in the backup: {len(found.extra):,}."
    )
    if not restored.applied:
        return f"Files compared with {source.origin}; {counts} Nothing was changed."
    said = f"Restored from {source.origin}. Files written: {len(restored.written):,}"
    said += f", removed: {len(restored.removed):,}" if request.exact else ""
    said += f", equal before: {found.same:,}. Each was read again and is as it was backed up."
    if restored.left:
        said += f" Changed by others meanwhile, and left as they are: {some(restored.left)}."
    if restored.written or restored.removed:
        days = settings.RESTORE_KEEP_DAYS
        said += f" What was replaced is kept for {days} days."
    return said


def _result(restored: Restored) -> dict[str, Any]:
    """Return what the run's row keeps of the outcome."""
    found = restored.differences
    groups = {
        "missing": found.missing, "changed": found.changed, "extra": found.extra,
        "written": restored.written, "removed": restored.removed, "left": restored.left,
    }  # fmt: skip
    return {
        "applied": restored.applied,
        "same": found.same,
        **{name: {"count": len(v), "names": list(v[:_MOST_NAMES])} for name, v in groups.items()},
    }
