"""The sentence on top: what a failure right now would cost, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from ops.admin.standing import Targets, standing
from ops.models import BackupState
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, ask
from tests.ops.admin.rows import make_backup

NOW = datetime(2026, 3, 10, 21, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = (
    "A failure now would lose 3 days of work; promised is 24 h at most. Take a backup, and see why "
    "none was taken."
)


@pytest.fixture(autouse=True)
def _as_owner(fresh_database: str) -> None:
    return None


def told(*backups: object, **values: object) -> tuple[str, str, str, list[str]]:
    with as_owner_by_default():
        said = standing(list(backups), NOW, **values)  # type: ignore[arg-type]
    return said.level, said.sentence, said.details, [each.text for each in said.missing]


def test_a_proven_backup_lets_everybody_sleep() -> None:
    proven = make_backup(NOW - 3 * HOUR, state=BackupState.PROVEN, proven_at=NOW - 2 * HOUR)
    assert told(proven) == (
        "good",
        "Restorable to today 18:40.",
        "Last full backup 3 h ago, proven 2 h ago.",
        [],
    )


def test_wal_makes_every_moment_restorable() -> None:
    proven = make_backup(NOW - 3 * HOUR, state=BackupState.PROVEN)
    level, sentence, _, missing = told(proven, restorable_to=NOW - timedelta(minutes=4))
    assert (level, sentence) == ("good", "Restorable to any moment up to today 21:36.")
    assert missing == []
    level, _, _, missing = told(proven, restorable_to=NOW - HOUR)
    assert (level, missing) == (
        "warning",
        ["No WAL has been stored for 60 min. See whether walreceiver runs."],
    )


def test_nothing_good_is_an_alarm_whatever_else_there_is() -> None:
    assert told()[:2] == ("danger", "There is no backup yet.")
    schema = make_backup(NOW - HOUR, kind="schema", state=BackupState.PROVEN)
    broken = make_backup(NOW - HOUR, state=BackupState.FAILED)
    level, sentence, _, missing = told(schema, broken)
    assert (level, sentence) == ("danger", "There is no good backup.")
    assert missing == [
        "A failure now would lose everything. Take a full backup.",
        "1 backup is damaged or missing.",
    ]


def test_a_backup_that_is_too_old_is_an_alarm() -> None:
    old = make_backup(NOW - 3 * DAY, state=BackupState.PROVEN)
    assert told(old)[0::3] == (
        "danger",
        [LATE],
    )
    assert told(old, targets=Targets(loss=7 * DAY))[0] == "good"


def test_a_backup_nobody_proved_is_not_slept_upon() -> None:
    taken = make_backup(NOW - HOUR, state=BackupState.VERIFIED)
    assert told(taken) == (
        "warning",
        "Restorable to today 20:40.",
        "Last full backup 60 min ago, verified.",
        ["No backup has been proven by restoring it. Open one and press Prove."],
    )
    long_ago = make_backup(NOW - 9 * DAY, state=BackupState.PROVEN, proven_at=NOW - 9 * DAY)
    level, _, details, missing = told(taken, long_ago)
    assert level == "warning"
    assert details.endswith("verified; the last proven one is of 1 Mar 21:40.")
    assert missing == ["The last proof by a restore was 9 days ago. Prove a newer backup."]


def test_an_attempt_that_failed_is_told_until_one_succeeds() -> None:
    proven = make_backup(NOW - HOUR, state=BackupState.PROVEN)
    with as_owner_by_default():
        run = ask("backup", "Full backup", by=Asker("ada", "cron"))
        run.status, run.finished_at = "failed", NOW - timedelta(minutes=5)
        run.save()
    assert told(proven)[3] == ["The last attempt failed 5 min ago."]
    with as_owner_by_default():
        later = ask("backup", "Full backup", by=Asker("ada", "cron"))
        later.status = "done"
        later.save()
    assert told(proven)[3] == []


def test_production_wants_a_copy_elsewhere(settings: Settings) -> None:
    proven = make_backup(NOW - HOUR, state=BackupState.PROVEN)
    settings.PRODUCTION_LIKE = True
    assert told(proven)[3] == ["No off-site copy is configured (BACKUP_COPY_STORAGE)."]
    settings.STORAGES = {**settings.STORAGES, "dbbackup_copy": settings.STORAGES["dbbackup"]}
    assert told(proven)[3] == ["The newest backup has no good copy off-site."]
    with as_owner_by_default():
        proven.copies.create(storage="dbbackup_copy", copied_at=NOW)
    assert told(proven)[0] == "good"
