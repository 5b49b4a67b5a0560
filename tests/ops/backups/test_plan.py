"""BACKUP_PLAN: what it promises, what is nonsense in it, and the crontab that keeps it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as current
from django.core.checks import Error
from pytest_django import Settings

from ops.backups import plan
from ops.backups.errors import BackupError
from srvc import checks
from srvc.environment import BASE_DIR

COMMAND = "cd /srv/srvc && .venv/bin/python manage.py"


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    given = copy.deepcopy(current.BACKUP_PLAN)
    change(given)
    return given


def test_the_shipped_plan_is_read() -> None:
    found = plan.plan()
    assert found.rpo == timedelta(hours=24)
    assert found.of("full").keep == plan.Keep(daily=14, weekly=8, monthly=12, yearly=3)
    assert found.of("full").cadence == plan.Cadence("daily 02:00", "0 2 * * *", timedelta(days=1))
    assert found.of("base").cadence == plan.Cadence(
        "weekly sunday 01:00", "0 1 * * 0", timedelta(days=7)
    )
    assert found.of("full").drill == timedelta(days=7)
    assert found.of("tables").cadence is None
    assert plan.plan_of_copies() == found


@pytest.mark.parametrize(
    ("text", "cron", "every"),
    [
        ("hourly :05", "5 * * * *", timedelta(hours=1)),
        ("every 6 hours :15", "15 */6 * * *", timedelta(hours=6)),
        ("daily 23:59", "59 23 * * *", timedelta(days=1)),
        ("weekly monday 00:00", "0 0 * * 1", timedelta(days=7)),
        ("monthly 28 03:00", "0 3 28 * *", timedelta(days=31)),
    ],
)
def test_a_cadence_is_a_crontab_and_a_length(text: str, cron: str, every: timedelta) -> None:
    given = changed(lambda it: it["kinds"]["full"].update(cadence=text))
    assert plan.problems(given) == []
    read = plan._Reading(given).plan.of("full").cadence
    assert read == plan.Cadence(text, cron, every)


_FORMS = (
    "write one of hourly :15, every 6 hours :15, daily 02:00, weekly sunday 01:00, monthly 1 03:00"
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda it: it.clear(), "has no dict of kinds"),
        (lambda it: it.pop("rpo"), "has None as rpo; a timedelta belongs there"),
        (
            lambda it: it.update(rto=timedelta(-1)),
            "has datetime.timedelta(days=-1) as rto; a timedelta belongs there",
        ),
        (
            lambda it: it.update(speed=1),
            "has 'speed', which is none of kinds, rpo, rto, failed_after",
        ),
        (
            lambda it: it["kinds"].update(foul={}),
            (
                "has 'foul' in kinds, which is none of full, schema, data, tables, base, "
                "incremental, media"
            ),
        ),
        (lambda it: it["kinds"].update(full=3), "has a full that is no dict"),
        (
            lambda it: it["kinds"]["full"].update(minimum=1),
            "has 'minimum' in full, which is none of cadence, keep, minimum_age, drill",
        ),
        (
            lambda it: it["kinds"]["full"]["keep"].update(dayly=1),
            "has 'dayly' in full: keep, which is none of hourly, daily, weekly, monthly, yearly",
        ),
        (
            lambda it: it["kinds"]["full"]["keep"].update(daily=-1),
            "keeps -1 daily of full; a whole number belongs there",
        ),
        (
            lambda it: it["kinds"]["full"]["keep"].update(daily="7"),
            "keeps '7' daily of full; a whole number belongs there",
        ),
        (
            lambda it: it["kinds"]["full"].update(keep={}),
            "takes full backups and keeps none of them",
        ),
        (
            lambda it: it["kinds"]["full"].update(cadence="daily 25:00"),
            f"takes full backups 'daily 25:00'; {_FORMS}",
        ),
        (
            lambda it: it["kinds"]["full"].update(cadence="every 5 hours :00"),
            f"takes full backups 'every 5 hours :00'; {_FORMS}",
        ),
        (
            lambda it: it["kinds"]["full"].update(cadence="monthly 31 03:00"),
            f"takes full backups 'monthly 31 03:00'; {_FORMS}",
        ),
        (
            lambda it: it["kinds"]["base"].pop("cadence"),
            "takes incremental backups without ever taking a base",
        ),
        (
            lambda it: [kind.pop("cadence", None) for kind in it["kinds"].values()],
            "takes no backup by itself",
        ),
        (
            lambda it: (
                it["kinds"].update(base={}, incremental={}, media={}),
                it["kinds"]["full"].update(cadence="weekly sunday 01:00"),
            ),
            (
                "promises to lose no more than 1 day, 0:00:00, and takes a backup every 7 days, "
                "0:00:00 only"
            ),
        ),
    ],
)
def test_nonsense_is_named_and_nothing_is_deleted_by_it(
    change: Callable[[dict[str, Any]], Any], problem: str, settings: Settings
) -> None:
    settings.BACKUP_PLAN = changed(change)
    assert plan.problems(settings.BACKUP_PLAN)[0] == problem
    with pytest.raises(BackupError) as caught:
        plan.plan()
    assert str(caught.value) == (
        f"BACKUP_PLAN {problem}. Nothing was done, and no backup was deleted. Correct it in "
        "srvc/settings.py."
    )
    assert checks.check_backup_plan(None)[0] == Error(
        f"BACKUP_PLAN {problem}.",
        hint="Correct BACKUP_PLAN in srvc/settings.py; until then no backup is deleted.",
        id="srvc.E006",
    )


def test_copies_may_have_a_plan_of_their_own(settings: Settings) -> None:
    settings.BACKUP_COPY_PLAN = changed(lambda it: it["kinds"]["full"].update(keep={"yearly": 9}))
    assert plan.plan_of_copies().of("full").keep == plan.Keep(yearly=9)
    assert checks.check_backup_plan(None) == []
    settings.BACKUP_COPY_PLAN = "weekly"
    assert [each.msg for each in checks.check_backup_plan(None)] == ["BACKUP_COPY_PLAN is no dict."]


def test_the_crontab_keeps_every_promise() -> None:
    assert plan.cron_lines(plan.plan(), command=COMMAND) == [
        f"0 2 * * * {COMMAND} backup --full",
        f"0 1 * * 0 {COMMAND} backup --base",
        f"0 3 * * * {COMMAND} backup --incremental",
        f"30 2 * * * {COMMAND} backup --media",
        f"30 3 * * * {COMMAND} verify --latest",
        f"40 3 * * * {COMMAND} verify --kind media",
        f"50 3 * * * {COMMAND} verify --wal",
        f"30 4 * * 1 {COMMAND} drill --latest --kind full",
        f"35 4 2 * * {COMMAND} drill --latest --kind base",
        f"0 6 * * * {COMMAND} backups --prune --yes",
    ]


def test_the_manual_has_the_same_crontab(settings: Settings) -> None:
    settings.PRODUCTION_LIKE, settings.ENVIRONMENT = True, "production"
    manual = (BASE_DIR / "docs" / "backups.md").read_text()
    written = re.findall(r"^(?:\S+ ){4}\S+ +cd .*manage\.py .*$", manual, re.MULTILINE)
    lines = plan.cron_lines(plan.plan(), command=plan.manage_command("/srv/srvc"))
    assert [re.sub(" +", " ", line) for line in written] == lines


def test_without_a_replication_login_the_crontab_asks_for_none() -> None:
    lines = plan.cron_lines(plan.plan(), command=COMMAND, physical=False)
    assert [line.partition("manage.py ")[2] for line in lines] == [
        "backup --full",
        "backup --media",
        "verify --latest",
        "verify --kind media",
        "drill --latest --kind full",
        "backups --prune --yes",
    ]


def test_the_crontabs_command_names_the_environment_and_survives_a_space(
    settings: Settings,
) -> None:
    assert plan.manage_command("/srv/my srvc") == (
        "cd '/srv/my srvc' && .venv/bin/python manage.py"
    )
    settings.PRODUCTION_LIKE, settings.ENVIRONMENT = True, "production"
    assert plan.manage_command("/srv/srvc") == (
        "cd /srv/srvc && SRVC_ENV=production .venv/bin/python manage.py"
    )
