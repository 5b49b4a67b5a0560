"""Uploaded files come back from a media backup, what they replace is kept, and the rest stays."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage, storages
from pytest_django import Settings

from ops.backups.errors import BackupError, BusyError, DamagedError
from ops.backups.lock import one_at_a_time
from ops.backups.media_restore import procedure
from ops.backups.media_restore.folder_place import FolderPlace
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import BackupKind, BackupState, Run, RunKind, RunStatus
from ops.progress import CancelledError, Counter
from ops.restores.errors import RefusedError
from ops.restores.media.kept import kept_files, tidy
from ops.restores.media.restoring import ask_for_media_restore, restore_uploads
from ops.restores.requests import MediaRequest
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.restores.uploads import FILES, Uploads, bring_back, take_back

TODAY = {"a.txt": b"written since", "new.txt": b"uploaded since"}


@pytest.fixture
def uploads(tmp_path: Path, settings: Settings) -> Uploads:
    """Return a folder of uploaded files, with some in it."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    found = Uploads(tmp_path / "media")
    found.put(FILES)
    return found


def change(uploads: Uploads) -> dict[str, bytes]:
    """Let files be lost, changed and uploaded since; return what is there then."""
    for name in ("jobs/1/photo.jpg", "jobs/2/photo.jpg"):
        (uploads.folder / name).unlink()
    (uploads.folder / "jobs/2").rmdir()
    uploads.put(TODAY)
    return uploads.all()


def test_what_is_missing_or_differs_comes_back_and_can_be_taken_back(
    backups: Backups, uploads: Uploads
) -> None:
    backups.take(kind="media")
    before = change(uploads)

    preview = bring_back(dry_run=True).restored
    assert preview.differences.missing == ("jobs/1/photo.jpg", "jobs/2/photo.jpg")
    assert preview.differences.changed == ("a.txt",)
    assert preview.differences.extra == ("new.txt",)
    assert (preview.differences.same, preview.applied) == (2, False)
    assert uploads.all() == before

    done = bring_back()
    assert done.restored.written == ("a.txt", "jobs/1/photo.jpg", "jobs/2/photo.jpg")
    assert uploads.all() == {**FILES, "new.txt": TODAY["new.txt"]}
    run = Run.objects.get(pk=done.run)
    assert (run.kind, run.status) == (RunKind.RESTORE, RunStatus.DONE)
    assert run.result["uploads"]["written"]["count"] == 3
    assert [(each.run, each.files) for each in kept_files()] == [(done.run, 3)]

    assert take_back() == ()
    assert uploads.all() == before
    assert Run.objects.newest_first()[0].kind == RunKind.UNDO
    assert take_back(done.run) == ()  # once more there is nothing to do
    assert uploads.all() == before
    assert list((backups.var / "restores").iterdir()) == []


def test_exact_removes_what_the_backup_has_not_and_only_missing_replaces_nothing(
    backups: Backups, uploads: Uploads
) -> None:
    backups.take(kind="media")
    before = change(uploads)
    bring_back(only_missing=True)
    assert uploads.all() == {**FILES, **TODAY}
    take_back()
    assert uploads.all() == before

    done = bring_back(exact=True)
    assert uploads.all() == FILES
    assert done.restored.removed == ("new.txt",)
    take_back()
    assert uploads.all() == before
    with pytest.raises(RefusedError):
        bring_back(exact=True, only_missing=True)


@pytest.mark.parametrize("names", [("jobs/1",), ("jobs/1/photo.jpg",), ("jobs/1/*.jpg", "empty")])
def test_single_files_come_back_by_name_folder_or_pattern(
    backups: Backups, uploads: Uploads, names: tuple[str, ...]
) -> None:
    backups.take(kind="media")
    before = change(uploads)
    assert bring_back(names=names, exact=True).restored.written == ("jobs/1/photo.jpg",)
    assert uploads.all() == {**before, "jobs/1/photo.jpg": b"one"}
    with pytest.raises(RefusedError):
        bring_back(names=("never.jpg",))


def test_files_that_others_changed_since_are_left_by_undo(
    backups: Backups, uploads: Uploads
) -> None:
    backups.take(kind="media")
    change(uploads)
    bring_back(exact=True)
    uploads.put({"a.txt": b"newer still", "new.txt": b"again"})
    assert take_back() == ("a.txt", "new.txt")
    assert (uploads.all()["a.txt"], uploads.all()["new.txt"]) == (b"newer still", b"again")


def test_a_file_uploaded_between_comparing_and_writing_is_left(
    backups: Backups, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.take(kind="media")
    change(uploads)

    def meanwhile(*told: Any) -> bool:
        uploads.put({"a.txt": b"changed meanwhile", "jobs/1/photo.jpg": b"uploaded meanwhile"})
        return True

    done = restore_uploads(ask_for_media_restore(MediaRequest(), by=ASKER), confirm=meanwhile)
    assert done.restored.left == ("a.txt", "jobs/1/photo.jpg")
    assert done.restored.written == ("jobs/2/photo.jpg",)
    assert uploads.all()["a.txt"] == b"changed meanwhile"


def test_without_a_yes_nothing_is_changed(backups: Backups, uploads: Uploads) -> None:
    backups.take(kind="media")
    before = change(uploads)
    run = ask_for_media_restore(MediaRequest(), by=ASKER)
    done = restore_uploads(run, confirm=lambda found, told: False)
    assert (done.restored.applied, uploads.all(), kept_files()) == (False, before, [])


def broken_at(monkeypatch: pytest.MonkeyPatch, act: str, name: str, error: BaseException) -> None:
    """Let one act on one file fail."""
    whole: Callable[..., Any] = getattr(FolderPlace, act)

    def failing(self: FolderPlace, given: str, *others: Any) -> Any:
        if given == name:
            raise error
        return whole(self, given, *others)

    monkeypatch.setattr(FolderPlace, act, failing)


@pytest.mark.parametrize("act", ["put", "keep", "remove"])
@pytest.mark.parametrize(
    "error", [BackupError("the disk is full"), CancelledError("stop"), KeyboardInterrupt()]
)
def test_whatever_fails_in_the_middle_puts_back_what_was_there(
    backups: Backups,
    uploads: Uploads,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    error: BaseException,
) -> None:
    backups.take(kind="media")
    before = change(uploads)
    name = {"put": "jobs/2/photo.jpg", "keep": "a.txt", "remove": "new.txt"}[act]
    with monkeypatch.context() as patch:
        broken_at(patch, act, name, error)
        with pytest.raises(type(error)):
            bring_back(exact=True)
    assert uploads.all() == before
    assert kept_files() == []
    run = Run.objects.newest_first()[0]
    assert run.status in {RunStatus.FAILED, RunStatus.CANCELLED}
    bring_back(exact=True)
    assert uploads.all() == FILES


def test_what_is_read_back_otherwise_than_it_was_written_fails(
    backups: Backups, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = backups.take(kind="media")
    before = change(uploads)
    whole = FolderPlace.put

    def damaging(self: FolderPlace, name: str, source: Path, mtime: int) -> None:
        source.write_bytes(source.read_bytes()[:-1])
        whole(self, name, source, mtime)

    with monkeypatch.context() as patch:
        patch.setattr(FolderPlace, "put", damaging)
        with pytest.raises(BackupError):
            bring_back()
        # The proof goes the same road.
        with pytest.raises(BackupError):
            verify_backup(ask_for_verification(backup, deep=True, by=ASKER))
    # The damaged ones are nobody's: they are neither of before nor of the backup.
    assert {name: uploads.all()[name] for name in ("empty", "new.txt")} == {
        name: before[name] for name in ("empty", "new.txt")
    }
    take_back()


def test_a_proof_is_a_restore(
    backups: Backups, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = backups.take(kind="media")
    verify_backup(ask_for_verification(backup, deep=True, by=ASKER))
    backup.refresh_from_db()
    assert backup.state == BackupState.PROVEN
    assert uploads.all() == FILES
    assert list((backups.var / "scratch").iterdir()) == []

    monkeypatch.setattr(procedure._Exchange, "_exchange_one", lambda self, entry: None)
    with pytest.raises(BackupError):
        verify_backup(ask_for_verification(backup, deep=True, by=ASKER))


def test_a_damaged_backup_changes_nothing(backups: Backups, uploads: Uploads) -> None:
    backup = backups.take(kind="media")
    before = change(uploads)
    stored = backups.folder / f"{backup.name}.tar.zst.age"
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedError):
        bring_back()
    assert uploads.all() == before
    verify_backup(ask_for_verification(backup, by=ASKER))
    with pytest.raises(RefusedError):
        bring_back(backup=backup.name)
    with pytest.raises(RefusedError):
        bring_back()  # none is good


def test_what_cannot_be_restored_from_is_refused(
    backups: Backups, uploads: Uploads, settings: Settings, tmp_path: Path
) -> None:
    full, media = backups.take(kind="schema"), backups.take(kind="media")
    with pytest.raises(RefusedError):
        bring_back(backup=full.name)
    (tmp_path / "others.tar").write_bytes(b"")
    with pytest.raises(RefusedError):
        bring_back(file=str(tmp_path / "others.tar"))
    settings.ENVIRONMENT = "staging"
    with pytest.raises(RefusedError):
        bring_back(backup=media.name)
    assert bring_back(backup=media.name, other_environment=True).restored.applied


def test_a_folder_in_the_way_is_told_before_anything_changes(
    backups: Backups, uploads: Uploads
) -> None:
    backups.take(kind="media")
    (uploads.folder / "a.txt").unlink()
    (uploads.folder / "empty").unlink()
    (uploads.folder / "a.txt").mkdir()
    with pytest.raises(BackupError):
        bring_back()
    assert not (uploads.folder / "empty").exists()


def test_one_at_a_time_and_no_media_backup_meanwhile(backups: Backups, uploads: Uploads) -> None:
    backups.take(kind="media")
    before = change(uploads)
    holder = Run.objects.create(kind=RunKind.BACKUP, subject="holder")
    with one_at_a_time(BackupKind.MEDIA, holder), pytest.raises(BusyError):
        bring_back()
    assert uploads.all() == before


def test_two_persons_and_a_cancel_before_it_began(
    backups: Backups, uploads: Uploads, settings: Settings
) -> None:
    backups.take(kind="media")
    before = change(uploads)
    settings.RESTORE_TWO_PERSONS = True
    assert bring_back(dry_run=True).restored.applied is False
    run = ask_for_media_restore(MediaRequest(), by=ASKER)
    assert run.status == RunStatus.AWAITING
    progress = Counter()
    progress.cancel()
    with pytest.raises(CancelledError):
        restore_uploads(run, progress)
    assert uploads.all() == before


def test_times_and_modes_are_those_of_uploads(backups: Backups, uploads: Uploads) -> None:
    old = uploads.folder / "jobs/1/photo.jpg"
    os.utime(old, (1_600_000_000, 1_600_000_000))
    backups.take(kind="media")
    change(uploads)
    (uploads.folder / "a.txt").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(uploads.folder / "jobs", 1234, 1235)
        os.chown(uploads.folder / "a.txt", 1234, 1236)
    bring_back()
    assert int(old.stat().st_mtime) == 1_600_000_000
    assert stat.S_IMODE(old.stat().st_mode) == 0o644
    assert stat.S_IMODE((uploads.folder / "a.txt").stat().st_mode) == 0o640
    if os.geteuid() == 0:
        made = uploads.folder / "jobs/2"
        assert {(p.stat().st_uid, p.stat().st_gid) for p in (made, made / "photo.jpg")} == {
            (1234, 1235)
        }
        replaced = (uploads.folder / "a.txt").stat()
        assert (replaced.st_uid, replaced.st_gid) == (1234, 1236)


def test_what_was_replaced_goes_when_its_time_is_over(
    backups: Backups, uploads: Uploads, settings: Settings
) -> None:
    backups.take(kind="media")
    change(uploads)
    done = bring_back()
    assert tidy(datetime.now(UTC) + timedelta(days=settings.RESTORE_KEEP_DAYS - 1)) == []
    assert tidy(datetime.now(UTC) + timedelta(days=settings.RESTORE_KEEP_DAYS + 1)) == [done.run]
    with pytest.raises(RefusedError):
        take_back()
    assert list((backups.var / "replaced_files").iterdir()) == []


def test_a_storage_that_is_no_folder(
    backups: Backups, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.take(kind="media")
    bucket = InMemoryStorage()
    for name, content in TODAY.items():
        with bucket.open(name, "wb") as file:
            file.write(content)
    monkeypatch.setitem(storages._storages, "default", bucket)

    def all_of_it() -> dict[str, bytes]:
        names = [*FILES, *TODAY]
        return {name: bucket.open(name).read() for name in names if bucket.exists(name)}

    bring_back(exact=True)
    assert all_of_it() == FILES
    take_back()
    assert all_of_it() == TODAY
