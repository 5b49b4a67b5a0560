"""Pruning on a real storage and catalogue: what goes goes whole, what stays is untouched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone
from pytest_django import Settings

from ops.backups import retention
from ops.backups.copies import copy_missing
from ops.backups.errors import BackupError, StorageError
from ops.backups.pins import pin
from ops.backups.retention import Pruned, ask_to_prune, delete_backup, plan_pruning, prune
from ops.backups.take import Request, ask_for_backup
from ops.backups.vault import Vault
from ops.backups.wal.names import USUAL_SIZE, ObjectName, lsn, segment_at
from ops.models import Backup, BackupCopy, BackupKind, Run, WalSegment
from ops.runs import Asker, ask, running
from srvc.storage_urls import folder_storage
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.history import backup_of

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def plain_plan(settings: Settings) -> dict[str, Any]:
    """Keep three days of everything and a week of bases, whatever their age."""
    kinds = ("full", "schema", "data", "tables", "media")
    made: dict[str, Any] = {
        "rpo": DAY,
        "rto": DAY,
        "failed_after": 30 * DAY,
        "kinds": {kind: {"keep": {"daily": 3}, "minimum_age": timedelta(0)} for kind in kinds},
    }
    made["kinds"]["full"]["cadence"] = "daily 02:00"
    for kind, keep in {"base": {"weekly": 1}, "incremental": {"daily": 1}}.items():
        made["kinds"][kind] = {"keep": keep, "minimum_age": timedelta(0)}
    settings.BACKUP_PLAN = made
    settings.BACKUP_COPY_PLAN = None
    return made


@pytest.fixture
def second(backups: Backups, tmp_path: Path, settings: Settings) -> Path:
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup_copy": folder_storage(tmp_path / "off-site"),
    }
    return tmp_path / "off-site"


def pruned(dry_run: bool = False) -> Pruned:
    return prune(ask_to_prune(by=ASKER), dry_run)


def names() -> set[str]:
    return set(Backup.objects.values_list("name", flat=True))


def test_what_goes_goes_with_all_its_objects_and_a_trial_deletes_nothing(
    backups: Backups,
) -> None:
    rows = [backup_of(age=number * DAY) for number in range(6)]
    before = backups.stored
    trial = pruned(dry_run=True)
    assert {each.backup.name for each in trial.deleted} == {row.name for row in rows[3:]}
    assert (backups.stored, len(names())) == (before, 6)
    done = pruned()
    assert [str(each) for each in done.decisions] == [str(each) for each in trial.decisions]
    assert [str(each) for each in done.decisions] == [
        *(f"kept: newest of day {row.taken_at:%Y-%m-%d}" for row in rows[:3]),
        *(
            f"deleted: older than every rule keeps; {number} newer ones of its kind"
            for number in (3, 4, 5)
        ),
    ]
    assert names() == {row.name for row in rows[:3]}
    assert len(backups.stored) == 9
    assert all(any(row.name in name for row in rows[:3]) for name in backups.stored)
    assert str(done) == "3 backups, 0 WAL segments, 0 leftovers, 45 bytes"
    run = Run.objects.newest_first().first()
    assert run is not None
    assert (run.kind, run.status) == ("prune", "done")
    assert run.message == f"Deleted {done}."
    assert pruned().deleted == []


def test_the_manifest_goes_before_the_object(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = backup_of(age=9 * DAY)
    for number in range(3):
        backup_of(age=number * DAY)
    deleted: list[str] = []
    monkeypatch.setattr(
        type(Vault.primary().storage), "delete", lambda self, name: deleted.append(name)
    )
    pruned()
    assert deleted[:2] == [f"manifests/{row.name}.json", f"{row.name}.dump.zst"]


def test_a_storage_that_refuses_keeps_the_row(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [backup_of(age=number * DAY) for number in range(5)]

    def refuse(self: object, name: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(Vault.primary().storage), "delete", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        pruned()
    assert names() == {row.name for row in rows}


def test_a_storage_that_is_not_there_is_not_an_empty_one(backups: Backups) -> None:
    for number in range(5):
        backup_of(age=number * DAY)
    backups.folder.rename(backups.var / "unmounted")
    with pytest.raises(StorageError, match=r"is not there\. Nothing can be said"):
        pruned()
    assert len(names()) == 5


def test_chains_go_whole_and_the_wal_that_only_they_needed_with_them(backups: Backups) -> None:
    old = backup_of(kind="base", age=30 * DAY)
    old_links = [backup_of(kind="incremental", age=29 * DAY, parent=old.name)]
    old_links.append(backup_of(kind="incremental", age=28 * DAY, parent=old_links[0].name))
    new = backup_of(kind="base", age=2 * DAY)
    links = [backup_of(kind="incremental", age=age * DAY / 2, parent=new.name) for age in (3, 2, 1)]
    needed = wal_of(new.start_lsn, DAY * 2)
    needless = wal_of(old.start_lsn, DAY * 29)
    done = pruned()
    assert names() == {new.name, *(link.name for link in links)}
    assert [segment.object_name for segment in done.segments] == [needless]
    assert list(WalSegment.objects.values_list("object_name", flat=True)) == [needed]
    assert Vault.primary().exists(needed)
    assert not Vault.primary().exists(needless)


def wal_of(at: str, age: timedelta) -> str:
    """Store the segment that holds a position, and return its object's name."""
    from ops.backups.wal.names import position

    closed = datetime.now(UTC) - age
    file = segment_at(1, position(at), USUAL_SIZE)
    named = ObjectName("7", file, USUAL_SIZE, closed, "none").signed("key", "0" * 64)
    Vault.primary().save(str(named), ContentFile(b"wal", name="wal"))
    assert named.start is not None
    assert named.end is not None
    WalSegment.objects.create(
        segment=file,
        timeline=1,
        object_name=str(named),
        system_identifier="7",
        start_lsn=lsn(named.start),
        end_lsn=lsn(named.end),
        size=3,
        closed_at=closed,
        stored_at=closed,
    )
    return str(named)


def test_nothing_is_deleted_that_a_running_backup_may_add_to(backups: Backups) -> None:
    base = backup_of(kind="base", age=30 * DAY)
    backup_of(kind="base")
    run = ask_for_backup(Request(kind=BackupKind.INCREMENTAL), by=ASKER)
    assert reason_of(base) == "kept: a backup that may add to it is being taken"
    with running(run):
        assert pruned().deleted == []
    assert reason_of(base).startswith("deleted: ")
    # Also when its run is on another machine's clock, or its row was lost: the lock is what counts.
    with backups.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s, 5)", [0x53525643])
        done = pruned()
    assert done.deleted == []
    assert done.skipped == "A physical backup is being taken, so no chain and no WAL was touched."
    assert base.name in names()


def reason_of(backup: Backup) -> str:
    return next(str(each) for each in plan_pruning(timezone.now()) if each.backup == backup)


def test_what_a_run_is_at_work_on_stays(backups: Backups) -> None:
    old = backup_of(age=30 * DAY)
    for number in range(3):
        backup_of(age=number * DAY)
    run = ask("verify", old.name, by=ASKER, backup=old)
    assert reason_of(old) == f"kept: a run is at work on it ({run})"


def test_other_environments_and_other_folders_have_plans_of_their_own(
    backups: Backups, tmp_path: Path
) -> None:
    other = backup_of(age=90 * DAY, environment="production")
    elsewhere = backup_of(Vault.folder(tmp_path / "usb"), age=90 * DAY)
    for number in range(4):
        backup_of(age=number * DAY)
    done = pruned()
    assert {other.name, elsewhere.name} <= names()
    assert len(done.deleted) == 1
    assert reason_of(other) == "kept: it is of production, which has a plan of its own"
    assert reason_of(elsewhere) == (
        "kept: it is in a folder that somebody chose, where no plan reaches"
    )


def test_copies_follow_their_own_plan_and_take_the_catalogues_row_over(
    backups: Backups, second: Path, settings: Settings, plain_plan: dict[str, Any]
) -> None:
    rows = [backup_of(age=number * DAY) for number in range(6)]
    settings.BACKUP_COPY_PLAN = {
        **plain_plan,
        "kinds": {
            **plain_plan["kinds"],
            "full": {**plain_plan["kinds"]["full"], "keep": {"daily": 5}},
        },
    }
    copy_missing(by=ASKER)
    assert BackupCopy.objects.count() == 5
    copy = BackupCopy.objects.get(backup=rows[3])
    copy.state, copy.verified_at = "verified", timezone.now()
    copy.save()
    pruned()
    assert names() == {row.name for row in rows[:5]}
    assert sorted(BackupCopy.objects.values_list("backup__name", flat=True)) == sorted(
        row.name for row in rows[:3]
    )
    rows[3].refresh_from_db()
    assert (rows[3].storage, rows[3].state) == ("dbbackup_copy", "verified")
    assert Vault.of(rows[3].storage).exists(f"{rows[3].name}.dump.zst")
    assert not Vault.primary().exists(f"{rows[3].name}.dump.zst")
    assert pruned().deleted == []
    # The copies' plan alone decides about what is left of them.
    Backup.objects.filter(pk=rows[3].pk).update(state="taken")
    settings.BACKUP_COPY_PLAN = None
    pruned()
    assert names() == {row.name for row in rows[:3]}
    assert len(list(second.glob("*.zst"))) == 3


def test_what_is_broken_here_stays_while_its_copy_is_good(backups: Backups, second: Path) -> None:
    broken = backup_of(age=90 * DAY)
    copy_missing(by=ASKER)
    Backup.objects.filter(pk=broken.pk).update(
        state="missing", checked_at=timezone.now() - 60 * DAY
    )
    for number in range(3):
        backup_of(age=number * DAY)
    assert reason_of(broken) == "kept: missing here, but its off-site copy is good"


def test_deleting_by_hand_refuses_what_must_stay(backups: Backups) -> None:
    proven = backup_of(age=3 * DAY, state="proven")
    pinned = backup_of(age=2 * DAY)
    pin(pinned, reason="evidence", by=ASKER)
    base = backup_of(kind="base", age=2 * DAY)
    link = backup_of(kind="incremental", age=DAY, parent=base.name)
    busy = backup_of(kind="schema")
    ask("verify", busy.name, by=ASKER, backup=busy)
    before = backups.stored
    refused = {
        proven: "it is the last one of its kind that is proven; prove a newer one first",
        pinned: "it is pinned (evidence); unpin it first",
        base: f"{link.name} adds to it; delete the chain from its end",
        busy: f"a run is at work on it (Verify {busy.name}); wait for it or cancel it",
    }
    for backup, why in refused.items():
        with pytest.raises(BackupError) as caught:
            delete_backup(backup, by=ASKER)
        assert str(caught.value) == f"{backup.name} was not deleted: {why}."
        run = Run.objects.filter(kind="delete").newest_first().first()
        assert run is not None
        assert (run.status, run.message) == ("failed", str(caught.value))
    with backups.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s, 5)", [0x53525643])
        with pytest.raises(BackupError, match="a physical backup is being taken"):
            delete_backup(link, by=ASKER)
    assert backups.stored == before


def test_deleting_by_hand_takes_backup_copies_and_pins_file(backups: Backups, second: Path) -> None:
    backup = backup_of()
    copy_missing(by=ASKER)
    run = ask("delete", backup.name, by=ASKER, backup=backup)
    delete_backup(backup, by=Asker("admin@example.com", "admin"), run=run)
    assert names() == set()
    assert backups.stored == []
    assert [path for path in second.rglob("*") if path.is_file()] == []
    run.refresh_from_db()
    assert (run.status, run.message) == ("done", f"{backup.name} is deleted.")


def test_a_newer_proven_one_lets_the_older_go(backups: Backups) -> None:
    older = backup_of(age=DAY, state="proven")
    backup_of(state="proven")
    delete_backup(older, by=ASKER)
    assert older.name not in names()


def test_the_plan_is_explained_at_length_without_reading_manifests(
    backups: Backups, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        backup_of(age=number * DAY)
    with django_assert_max_num_queries(6):
        assert len(retention.plan_pruning(timezone.now())) == 20
