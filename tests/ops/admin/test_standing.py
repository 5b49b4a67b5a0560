"""The readiness as a page shows it: a sentence, details, and what is missing, with links."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.admin.standing import standing
from ops.backups.wal.gaps import Window
from ops.models import BackupState, DrillVerdict
from ops.readiness.value import (
    Attempt,
    Damage,
    DrillOutcome,
    GoodBackup,
    KindReadiness,
    Readiness,
)

NOW = datetime(2026, 3, 10, 21, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def ready(age: timedelta = HOUR, **values: Any) -> Readiness:
    """An environment with one proven full backup, and what a test changes of it."""
    taken = NOW - age
    newest = GoodBackup(7, "a", "full", BackupState.PROVEN, taken, taken, NOW - HOUR, False)
    proven = {"full": KindReadiness(taken, taken, NOW - HOUR)}
    whole = {"has_backups": True, "newest": newest, "newest_proven": newest, "kinds": proven}
    return Readiness("development", NOW, **{**whole, **values})


def wal_to(moment: datetime) -> Readiness:
    return ready(3 * HOUR, windows=(Window(NOW - 9 * HOUR, moment, "a", ("a",), ""),))


def test_a_proven_backup_lets_everybody_sleep() -> None:
    said = standing(ready(3 * HOUR))
    assert (said.level, said.sentence, said.missing) == ("good", "Restorable to today 18:40.", [])
    assert said.details == "Last full backup 3 h ago, proven 60 min ago."


def test_wal_makes_every_moment_restorable() -> None:
    said = standing(wal_to(NOW - timedelta(minutes=4)))
    assert (said.level, said.missing) == ("good", [])
    assert said.sentence == "Restorable to any moment up to today 21:36."
    late = standing(wal_to(NOW - HOUR))
    assert (late.level, len(late.missing)) == ("warning", 1)


def test_nothing_good_is_an_alarm_whatever_else_there_is() -> None:
    nothing = Readiness("development", NOW)
    assert (standing(nothing).level, standing(nothing).sentence) == (
        "danger", "There is no backup yet.",
    )  # fmt: skip
    broken = replace(nothing, has_backups=True, damages=(Damage(3, "b", "", "failed", ""),))
    said = standing(broken)
    assert (said.level, said.sentence) == ("danger", "There is no good backup.")
    assert [(each.danger, each.link) for each in said.missing] == [
        (True, ""), (False, "/admin/ops/backup/3/change/"),
    ]  # fmt: skip


def test_a_backup_nobody_proved_names_the_last_one_that_was() -> None:
    taken = GoodBackup(8, "b", "full", BackupState.VERIFIED, NOW - HOUR, NOW, None, False)
    older = ready(9 * DAY).newest
    said = standing(ready(newest=taken, newest_proven=older))
    assert said.details.startswith("Last full backup 60 min ago, verified;")
    assert said.details.endswith("1 Mar 21:40.")
    alone = standing(ready(newest=taken, newest_proven=None, kinds={}))
    assert (alone.level, alone.details) == ("warning", "Last full backup 60 min ago, verified.")


@pytest.mark.parametrize(
    ("values", "level", "link"),
    [
        ({"age": 3 * DAY}, "danger", ""),
        (
            {"failed_drill": DrillOutcome(DrillVerdict.FAILED, "a", "", NOW)},
            "danger", "/admin/ops/drill/",
        ),
        (
            {"newest_damaged": "b", "damages": (Damage(9, "b", "", "missing", ""),)},
            "danger", "/admin/ops/backup/9/change/",
        ),
        ({"seconds": 7200.0}, "warning", "/admin/ops/drill/"),
        ({"failed_attempt": Attempt(5, NOW)}, "warning", "/admin/ops/run/5/change/"),
        ({"needs_copy": True}, "warning", ""),
        (
            {"needs_copy": True, "has_second_storage": True},
            "warning", "/admin/ops/backup/7/change/",
        ),
    ],
)  # fmt: skip
def test_each_shortcoming_has_its_level_and_its_place(
    values: dict[str, Any], level: str, link: str
) -> None:
    said = standing(ready(**values))
    assert (said.level, said.missing[0].link) == (level, link)
    assert said.missing[0].danger == (level == "danger")
