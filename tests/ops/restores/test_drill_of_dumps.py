"""Drills of dumps: good ones pass, wrong ones fail at the right step, the live is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from ops.backups.errors import BackupError, DamagedError
from ops.backups.manifest import Manifest
from ops.models import Backup, BackupKind, BackupState, Drill, DrillVerdict, Run, RunStatus
from ops.postgres import server
from ops.progress import CancelledError, Counter
from ops.restores.drills.choosing import weights
from ops.restores.drills.ladder import Outcome, Step, climb
from ops.restores.errors import RefusedError
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer
from tests.harness import database, run
from tests.ops.backups.conftest import SIGNING_KEY, Backups
from tests.ops.restores.drilling import failed_step, found, rehearse, states

ALL = [
    "ended", "checksum", "restore", "structure", "rows", "content", "indexes", "visible",
    "invariants", "smoke",
]  # fmt: skip


class Watching(Counter):
    """Notes which databases the live server has while it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.phases: list[str] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        super().phase(name, total, unit)
        self.phases.append(name)
        with database.connect() as connection:
            self.seen |= set(server.databases(connection))


class Stopping(Counter):
    """Asks to stop when a phase begins."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self._when = when

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        super().phase(name, total, unit)
        if name == self._when:
            self.cancel()


def make_accounts() -> list[int]:
    """Three businesses with one, two and three customers."""
    accounts = []
    for number in (1, 2, 3):
        owner = make_business()
        with acting_as(owner):
            for _ in range(number):
                make_customer()
        accounts.append(owner.pk)
    return accounts


def sign(backups: Backups, taken: Backup, manifest: Manifest) -> None:
    (backups.folder / manifest.object_name).write_bytes(manifest.signed(SIGNING_KEY))


def test_a_good_one_passes_and_the_live_server_is_left_alone(backups: Backups) -> None:
    accounts = make_accounts()
    taken = backups.take()
    watching = Watching()

    done = rehearse(taken, watching)

    assert states(done) == dict.fromkeys(ALL, "held")
    assert done.verdict == DrillVerdict.PASSED
    assert done.note.startswith("All 10 steps held. Usable after ")
    assert done.backup == taken
    assert done.holds == taken.taken_at
    assert done.rto_seconds is not None
    assert done.seconds is not None
    assert 0 < done.rto_seconds < done.seconds
    assert done.rto_seconds == pytest.approx(sum(each["seconds"] for each in done.steps[:6]), 0.1)
    assert done.rpo_seconds == pytest.approx(
        (done.started_at - taken.taken_at).total_seconds(), abs=0.001
    )
    # The test's own databases, and those of tests beside it, have the run's name.
    assert {name for name in watching.seen if not name.startswith(run.name())} <= {"postgres"}
    assert not list((backups.var / "scratch").iterdir())
    taken.refresh_from_db()
    assert taken.state == BackupState.PROVEN
    recorded = taken.manifest["details"]["visible"]["seen"]
    members = {each["account"]: each["tables"]["public.customers"] for each in recorded[2:]}
    assert members == dict(zip(accounts, (1, 2, 3), strict=True))
    assert recorded[0]["tables"]["public.customers"] == "all"
    assert found(done, "visible").endswith("policies say, as when it was taken.")


def test_roles_that_see_other_rows_fail_it_and_disprove_the_backup(backups: Backups) -> None:
    accounts = make_accounts()
    taken = backups.take()
    manifest = Manifest.of_row(taken.manifest)
    recorded = manifest.details["visible"]
    for each in recorded["seen"]:
        if each["account"] == accounts[1]:
            each["tables"]["public.customers"] = 7
    sign(backups, taken, replace(manifest, details={"visible": recorded}))

    done = rehearse(taken)

    who = f"srvc_member of account {accounts[1]}"
    step, why = failed_step(done)
    assert step == "visible"
    assert why.endswith(f"they should. {who} sees 2 row(s) of public.customers instead of 7.")
    assert [each["state"] for each in done.steps[-2:]] == ["unreached", "unreached"]
    assert done.verdict == DrillVerdict.FAILED
    taken.refresh_from_db()
    assert taken.state == BackupState.FAILED
    assert taken.disproven_at is not None


def test_an_older_manifest_is_held_against_what_policies_say(
    backups: Backups, settings: Settings
) -> None:
    settings.SMOKE_TEST_COMMAND = ""
    make_accounts()
    taken = backups.take()
    sign(backups, taken, replace(Manifest.of_row(taken.manifest), details={}))

    done = rehearse(taken)

    assert states(done) == dict.fromkeys(ALL[:-1], "held")
    assert found(done, "visible").endswith("; what it saw is unrecorded.")


def test_data_that_contradicts_itself_fails_it_and_not_the_backup(
    backups: Backups, settings: Settings
) -> None:
    settings.INVARIANTS = ["tests.ops.restores.drilling.BROKEN"]
    taken = backups.take()

    done = rehearse(taken)

    assert failed_step(done) == ("invariants", "Not true: One is two. 1 is not 2.")
    assert states(done)["smoke"] == "unreached"
    assert done.rto_seconds is not None
    taken.refresh_from_db()
    assert taken.state == BackupState.PROVEN


def test_an_application_that_does_not_work_on_it_fails_it(
    backups: Backups, settings: Settings
) -> None:
    settings.SMOKE_TEST_COMMAND = "resettwofactor"
    taken = backups.take()

    done = rehearse(taken)

    step, why = failed_step(done)
    assert step == "smoke"
    assert why.startswith("manage.py resettwofactor failed.")
    assert "error: " in why


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (BackupKind.SCHEMA, ALL[:4]),
        (BackupKind.TABLES, ["ended", "checksum", "restore", "rows", "content", "indexes"]),
        (BackupKind.MEDIA, ALL[:3]),
    ],
)
def test_a_step_that_does_not_apply_is_no_part_of_the_ladder(
    kind: str, steps: list[str], backups: Backups
) -> None:
    tables = ("ops_backup",) if kind == BackupKind.TABLES else ()
    if kind == BackupKind.TABLES:
        backups.take(kind=BackupKind.SCHEMA)  # its rows go into the newest such schema

    done = rehearse(backups.take(kind=kind, tables=tables))

    assert states(done) == dict.fromkeys(steps, "held")
    assert done.verdict == DrillVerdict.PASSED


def test_without_the_key_nothing_is_passed_and_nothing_held_against_it(
    backups: Backups, settings: Settings
) -> None:
    taken = backups.take()
    settings.BACKUP_AGE_IDENTITY_FILES = []

    done = rehearse(taken)

    assert done.verdict == DrillVerdict.INCOMPLETE
    assert done.steps[0]["state"] == "held"
    assert {each["state"] for each in done.steps[1:]} == {"skipped"}
    assert done.note.startswith(
        "Nothing was wrong, and 9 of 10 steps could not be tried: It is encrypted to age1"
    )
    assert done.rto_seconds is None
    taken.refresh_from_db()
    assert taken.state == BackupState.TAKEN


def test_a_cancelled_one_is_told_as_such_and_leaves_nothing(backups: Backups) -> None:
    taken = backups.take()

    with pytest.raises(CancelledError):
        rehearse(taken, Stopping("comparing"))

    done = Drill.objects.get()
    assert (done.verdict, done.note) == (DrillVerdict.ABORTED, "It was cancelled.")
    assert states(done) == dict.fromkeys(ALL[:4], "held")
    assert Run.objects.newest_first()[0].status == RunStatus.CANCELLED
    assert not list((backups.var / "scratch").iterdir())
    taken.refresh_from_db()
    assert taken.state == BackupState.TAKEN


def test_a_step_that_was_broken_off_by_who_cancelled_did_not_fail() -> None:
    progress = Counter()
    told: list[list[Outcome]] = []

    def broken_off() -> str:
        progress.cancel()
        raise DamagedError("The object ends too early.")

    with pytest.raises(CancelledError):
        climb([Step("ended", "It has its end", broken_off)], progress, told.append)
    assert told == []


def test_what_cannot_be_meant_is_refused(backups: Backups) -> None:
    with pytest.raises(RefusedError, match=r"There is no good backup of development that"):
        rehearse()
    with pytest.raises(RefusedError, match=r"There is no good base backup"):
        rehearse(random=True, kind=BackupKind.BASE)
    with pytest.raises(BackupError, match=r"There is no backup 'x' in the catalogue"):
        rehearse(backup_named="x")
    with pytest.raises(RefusedError, match=r"of one backup, of a random one, or of a moment"):
        rehearse(random=True, moment="now")
    with pytest.raises(RefusedError, match=r"'\*' is no moment"):
        rehearse(moment="*")
    assert not Drill.objects.exists()


def test_a_moment_that_nothing_leads_to_is_no_passed_drill(backups: Backups) -> None:
    done = rehearse(moment="now")

    assert {each["state"] for each in done.steps[1:]} <= {"unreached", "skipped"}
    with backups.connect() as connection:
        major = connection.info.server_version // 10_000
    if major >= 17:
        step, why = failed_step(done)
        assert (step, done.verdict) == ("reach", DrillVerdict.FAILED)
        assert "there is no base backup to begin from" in why
    else:
        assert (done.steps[0]["state"], done.verdict) == ("skipped", DrillVerdict.INCOMPLETE)
        assert f"on PostgreSQL 17 or newer; this server is {major}." in done.steps[0]["found"]


def test_what_was_not_drilled_for_long_is_chosen_rather() -> None:
    now = timezone.now()
    day = timedelta(days=1)

    found = weights(
        [(now - 9 * day, now - day), (now - 9 * day, now - 3 * day), (now - day, None)], now
    )

    assert found == [2.0, 4.0, 3.0]
