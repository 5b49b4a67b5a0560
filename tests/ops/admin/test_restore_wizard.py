"""The restore wizard, step by step: what it asks, what it refuses, what is asked for at last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from ops.models import Backup, BackupState, Run
from ops.restores.requests import RecoverRequest, RestoreRequest
from ops.rls.router import as_owner_by_default
from tests.ops.admin.restore_rows import make_recovery, make_restore
from tests.ops.admin.rows import (
    Browser,
    browser_of,
    make_backup,
    make_segment,
    platform_administrator,
)
from tests.ops.admin.test_pages import words
from tests.ops.backups.conftest import Backups

SITE = "/admin/ops/restore/new"


@pytest.fixture
def browser(fresh_database: str) -> Browser:
    return browser_of(platform_administrator())


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def backup(fresh_database: str, now: datetime) -> Backup:
    return make_backup(now - timedelta(hours=3), state=BackupState.PROVEN, check_seconds=42.0)


def go(browser: Browser, step: str, **answers: Any) -> Any:
    return browser.get(f"{SITE}/{step}/", {**answers, "go": "1"})


def where(answer: Any) -> tuple[str, dict[str, list[str]]]:
    """The step that an answer leads to, and the answers that come along."""
    assert answer.status_code == 302, words(answer)
    address = urlsplit(answer["Location"])
    return address.path.rstrip("/").rsplit("/", 1)[-1], parse_qs(address.query)


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(map(str, found)) for name, found in answer.context["form"].errors.items()}


def test_each_step_leads_to_the_next_and_back_with_all_that_was_said(
    browser: Browser, backup: Backup
) -> None:
    page = words(browser.get(f"{SITE}/what/"))
    for said in ("Everything: the whole database", "A moment:", "Tables:", "An account:"):
        assert said in page
    assert where(go(browser, "what", what="customer")) == ("from", {"what": ["customer"]})
    chosen = {"what": "customer", "source": f"backup:{backup.name}"}
    assert where(go(browser, "from", **chosen))[0] == "options"
    more = {**chosen, "keys": "77", "mode": "all"}
    assert where(go(browser, "options", **more)) == (
        "preview",
        {name: [value] for name, value in more.items()},
    )
    answer = browser.get(f"{SITE}/preview/", more)
    text = words(answer)
    assert "Customer 77" in text
    assert "Both: bring back what is missing, set back what was changed" in text
    # Back, and the answers are still there.
    back = browser.get(answer.context["back"])
    assert back.context["form"]["keys"].value() == "77"
    assert [mark.state for mark in back.context["marks"]] == [
        "done",
        "done",
        "now",
        "later",
        "later",
    ]
    again = browser.get(back.context["marks"][1].url)
    assert again.context["form"]["source"].value() == f"backup:{backup.name}"
    assert ("keys", "77") in again.context["others"]


@pytest.mark.parametrize("step", ["from", "options", "preview", "confirm"])
def test_a_step_without_those_before_it_leads_to_the_first_one_missing(
    browser: Browser, backup: Backup, step: str
) -> None:
    assert where(browser.get(f"{SITE}/{step}/")) == ("what", {})
    assert where(browser.get(f"{SITE}/{step}/", {"what": "nonsense"}))[0] == "what"
    if step != "from":
        answers = {"what": "everything", "source": "backup:nonsense"}
        assert where(browser.get(f"{SITE}/{step}/", answers))[0] == "from"
    assert browser.get(f"{SITE}/nonsense/").status_code == 404


def test_without_a_good_backup_there_is_nothing_to_choose(browser: Browser, now: datetime) -> None:
    make_backup(now - timedelta(hours=1), state=BackupState.FAILED)
    text = words(browser.get(f"{SITE}/from/", {"what": "everything"}))
    assert "There is no good backup of the whole database and no WAL to restore from." in text


def test_a_moment_has_to_be_one_that_wal_leads_to(browser: Browser, now: datetime) -> None:
    begin = now.replace(microsecond=0) - timedelta(hours=2)
    make_backup(begin, kind="base", lsn=0)  # whole four seconds later
    for number in range(4):
        make_segment(number, begin + timedelta(minutes=10 * (number + 1)))
    what = {"what": "moment", "source": "moment"}

    def said(at: str) -> list[str]:
        return errors(go(browser, "from", **what, at=at))["at"]

    last = begin + timedelta(minutes=40)
    assert said("") == ["Say a day and a time: 2026-11-23 14:05:00."]
    assert said("2026-13-45T99:00") == ["Say a day and a time: 2026-11-23 14:05:00."]
    late = last + timedelta(minutes=5)
    [sentence] = said(f"{late:%Y-%m-%dT%H:%M:%S}")
    assert sentence == (
        f"No backup and no WAL lead to {late:%Y-%m-%d %H:%M:%S} UTC. The nearest moment that can "
        f"be restored is {last:%Y-%m-%d %H:%M:%S} UTC."
    )
    good = begin + timedelta(minutes=15)
    assert where(go(browser, "from", **what, at=f"{good:%Y-%m-%dT%H:%M:%S}"))[0] == "options"
    preview = browser.get(f"{SITE}/preview/", {**what, "at": f"{good:%Y-%m-%dT%H:%M:%S}"})
    assert preview.context["answers"].restore_request() == RestoreRequest(moment=good.isoformat())
    # A physical backup's own button leads to its first moment.
    base = Backup.objects.using("owner").get(kind="base")
    answer = browser.get(reverse("admin:ops_backup_restore_all", args=[base.pk]))
    step, query = where(answer)
    first = begin + timedelta(seconds=5)
    assert (step, query["at"]) == ("from", [f"{first:%Y-%m-%dT%H:%M:%S}"])


def test_another_environments_data_comes_only_where_that_is_said(
    browser: Browser, backup: Backup
) -> None:
    with as_owner_by_default():
        Backup.objects.update(environment="production")
    answers = {"what": "everything", "source": f"backup:{backup.name}"}
    assert "of production" in words(browser.get(f"{SITE}/from/", {"what": "everything"}))
    assert errors(go(browser, "options", **answers)) == {
        "other_environment": [
            "This backup is of production. Say that you mean it, or choose another."
        ]
    }
    assert where(browser.get(f"{SITE}/confirm/", answers))[0] == "options"
    assert where(go(browser, "options", **answers, other_environment="on"))[0] == "preview"


def test_choices_that_contradict_each_other_are_told_at_their_field(
    browser: Browser, backup: Backup
) -> None:
    answers = {"what": "tables", "source": f"backup:{backup.name}", "mode": "missing"}
    offered = browser.get(f"{SITE}/options/", answers).context["form"].fields["tables"].choices
    assert [name for name, _ in offered][:2] == ["customers", "invoice_lines"]
    assert errors(go(browser, "options", **answers)) == {"tables": ["This field is required."]}
    assert list(errors(go(browser, "options", **answers, tables="django_session"))) == ["tables"]
    two = {**answers, "tables": ["customers", "jobs"]}
    assert errors(go(browser, "options", **two, where="id = 1")) == {
        "where": ["A condition goes with one table. Choose one only."]
    }
    one = {**answers, "tables": "customers"}
    assert errors(go(browser, "options", **one, columns="name")) == {
        "columns": ["Single columns go with “Set back what was changed”."]
    }


def test_before_a_complete_restore_it_is_said_what_it_costs(
    browser: Browser, backup: Backup, now: datetime
) -> None:
    answers = {"what": "everything", "source": f"backup:{backup.name}"}
    text = words(browser.get(f"{SITE}/preview/", answers))
    assert "Whatever was written since" in text
    assert "(3 h) is not in it." in text
    assert "Probably about 42 s: that is how long proving this backup took." in text
    assert "Undo, for 7 days: the replaced database is kept beside." in text
    assert "never proven" not in text
    make_restore(now)
    text = words(browser.get(f"{SITE}/preview/", {**answers, "skip_safety": "on"}))
    assert "Probably about 20 s: that is how long the last restore took." in text
    assert "No backup is taken of what is replaced." in text


@pytest.fixture
def real(backups: Backups) -> Backup:
    return backups.take(kind="full")


def test_a_complete_restore_is_asked_for_once_and_with_the_name_typed(
    backups: Backups, real: Backup, settings: Settings
) -> None:
    browser = browser_of(platform_administrator())
    answers = f"what=everything&source=backup:{real.name}"
    url = f"{SITE}/confirm/?{answers}"
    assert f"Type {backups.database} to confirm" in words(browser.get(url))
    before = Run.objects.count()
    wrong = browser.post(url, {"name": "srvc"})
    assert errors(wrong) == {"name": ["This is not the database's name. Nothing was begun."]}
    assert Run.objects.count() == before
    settings.RESTORE_TWO_PERSONS = True
    asked = browser.post(url, {"name": backups.database})
    run = Run.objects.newest_first()[0]
    assert asked["Location"] == reverse("admin:ops_run_change", args=[run.pk])
    assert (run.kind, run.status, run.backup, run.asked_by) == (
        "restore",
        "awaiting",
        real,
        "root@platform.example",
    )
    assert RestoreRequest.of_run(run) == RestoreRequest(backup=real.name)
    # Pressed twice: the same run, and nothing more.
    again = browser.post(url, {"name": backups.database}, follow=True)
    assert again.redirect_chain[-1][0] == asked["Location"]
    assert "root@platform.example asked for this at" in again.content.decode()
    assert Run.objects.count() == before + 1


def test_rows_are_previewed_first_and_then_asked_for_as_they_were_previewed(
    backups: Backups, real: Backup
) -> None:
    browser = browser_of(platform_administrator())
    url = f"{SITE}/preview/?what=customer&source=backup:{real.name}&keys=77&mode=exact"
    asked = browser.post(url)
    run = Run.objects.newest_first()[0]
    assert asked["Location"] == reverse("admin:ops_run_change", args=[run.pk])
    assert RecoverRequest.of_run(run) == RecoverRequest(
        backup=real.name, subject="customer", keys=("77",), mode="all", exact=True, dry_run=True
    )
    assert (
        where(
            browser.get(f"{SITE}/confirm/?what=customer&source=backup:{real.name}&keys=7&mode=all")
        )[0]
        == "preview"
    )
    recovery = make_recovery()
    apply = reverse("admin:ops_recovery_apply", args=[recovery.pk])
    assert errors(browser.post(apply, {"name": "x"})) == {
        "name": ["This is not the database's name. Nothing was begun."]
    }
    browser.post(apply, {"name": backups.database})
    run = Run.objects.newest_first()[0]
    # Whoever asks for the newest is told which one that was.
    assert RecoverRequest.of_run(run) == RecoverRequest(
        backup=real.name, subject="customer", keys=("77",)
    )
