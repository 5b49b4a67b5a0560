"""`manage.py backups`: the list, one of them, and what can be done with it."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ops.models import Backup, BackupState, Run, RunKind, RunStatus
from ops.runs import ask
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.terminal import Terminal


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("backups", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def refusal(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        command(*arguments)
    return caught.value


class Typed(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def taken(backups: Backups) -> Backup:
    return backups.take(kind="schema")


def test_an_empty_catalogue_says_how_to_begin(backups: Backups) -> None:
    assert command() == "No backups yet. `manage.py backup` takes the first.\n"
    assert json.loads(command("--json")) == []


def test_the_list_has_a_line_for_each_newest_first(backups: Backups, taken: Backup) -> None:
    other = backups.take(kind="data")
    Backup.objects.filter(pk=taken.pk).update(
        taken_at=taken.taken_at - timedelta(days=3), state=BackupState.PROVEN
    )

    lines = command().splitlines()

    assert lines[0].split() == [
        "ID", "When", "(UTC)", "Kind", "Size", "Rows", "Took", "State", "On", "Where",
    ]  # fmt: skip
    assert lines[1].startswith(f"{other.pk:>2}")
    assert "just now" in lines[1]
    assert "Data only" in lines[1]
    assert "Taken" in lines[1]
    assert "3 days ago" in lines[2]
    assert "Schema only" in lines[2]
    assert "Proven" in lines[2]
    assert lines[3].startswith("2 backups, ")


def test_one_from_the_future_is_said_to_be(backups: Backups, taken: Backup) -> None:
    Backup.objects.update(taken_at=timezone.now() + timedelta(days=3, hours=1))
    assert "in 3 days" in command()


def test_the_list_can_be_narrowed(backups: Backups, taken: Backup) -> None:
    backups.take(kind="data")
    Backup.objects.filter(pk=taken.pk).update(state=BackupState.FAILED, state_note="cut off")

    def listed(*arguments: str) -> list[Any]:
        return [each["kind"] for each in json.loads(command("--json", *arguments))]

    assert listed() == ["data", "schema"]
    assert listed("--kind", "data") == ["data"]
    assert listed("--state", "failed") == ["schema"]
    assert listed("--limit", "1") == ["data"]
    assert command("--kind", "media") == "No backup is like that.\n"


def test_a_terminal_has_colours_and_a_file_has_none(backups: Backups, taken: Backup) -> None:
    assert "\x1b" not in command()
    with Terminal() as terminal:
        call_command("backups", stdout=terminal.stream)
        assert "\x1b[33mTaken" in terminal.text()


def test_one_is_shown_table_by_table(backups: Backups) -> None:
    taken = backups.take()
    token = taken.name[-6:]

    shown = command("show", token)

    assert f"{taken.name} (#{taken.pk})" in shown
    assert "Taken" in shown
    assert backups.recipient in shown
    manifest = taken.manifest
    for table in manifest["proof"]["tables"]:
        assert f"{table['schema']}.{table['name']}" in shown
        assert table["content"] in shown
    assert manifest["objects"][0]["sha256"] in shown
    assert "tester@example.com" in shown
    assert json.loads(command("show", str(taken.pk), "--json")) == manifest
    assert json.loads(command("show", taken.name, "--json")) == manifest


def test_an_id_that_means_none_or_several_is_refused(backups: Backups, taken: Backup) -> None:
    other = backups.take(kind="schema")
    assert refusal("show", "nothing").returncode == 2
    several = refusal("show", "schema")
    assert several.returncode == 2
    assert other.name in str(several)
    assert taken.name in str(several)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show"], "`backups show` takes one ID. Nothing was done."),
        (["sho", "1"], "'sho' is none of show, pin, unpin, delete, cancel."),
        (["show", "1", "--prune"], "show goes alone. Nothing was done."),
        (["--dry-run"], "--dry-run belongs to --prune. Nothing was done."),
        (["cancel", "x"], "There is no run 'x'. Nothing was done."),
        (["cancel", "1000"], "There is no run '1000'. Nothing was done."),
        (["--prune"], "Nothing was deleted: nobody is there to ask."),
    ],
)
def test_wrong_usage_is_2(backups: Backups, arguments: list[str], said: str) -> None:
    error = refusal(*arguments)
    assert said in str(error)
    assert error.returncode == 2


def test_one_is_pinned_with_a_reason_and_unpinned(backups: Backups, taken: Backup) -> None:
    assert "reason" in str(refusal("pin", str(taken.pk)))

    said = command("pin", str(taken.pk), "--reason", "before the move")

    assert said == f"{taken.name} is pinned: it stays until it is unpinned.\n"
    taken.refresh_from_db()
    assert taken.pin_reason == "before the move"
    assert "Taken · pinned" in command()
    assert "before the move" in command("show", str(taken.pk))
    command("unpin", str(taken.pk))
    taken.refresh_from_db()
    assert taken.pinned_at is None


def test_deleting_asks_for_the_databases_name(
    backups: Backups, taken: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.take(kind="schema")
    monkeypatch.setattr("sys.stdin", Typed("yes\n"))
    assert str(refusal("delete", taken.name)) == "That is not its name. Nothing was deleted."
    assert Backup.objects.filter(pk=taken.pk).exists()

    monkeypatch.setattr("sys.stdin", Typed(f"{backups.database}\n"))
    assert command("delete", taken.name) == f"{taken.name} is deleted.\n"

    assert not Backup.objects.filter(pk=taken.pk).exists()
    assert not [name for name in backups.stored if taken.name in name]


def test_the_last_proven_one_is_never_deleted(backups: Backups, taken: Backup) -> None:
    backups.take(kind="schema")
    now = timezone.now()
    Backup.objects.filter(pk=taken.pk).update(state=BackupState.PROVEN, proven_at=now)

    error = refusal("delete", taken.name, "--yes")

    assert error.returncode == 1
    assert "proven" in str(error)
    assert [name for name in backups.stored if taken.name in name]


def test_pruning_explains_each_line_before_it_deletes_any(backups: Backups) -> None:
    old = [backups.take(kind="schema") for _ in range(3)]
    for number, backup in enumerate(old):
        long_ago = timezone.now() - timedelta(days=4000, minutes=number)
        Backup.objects.filter(pk=backup.pk).update(taken_at=long_ago)
    backups.take(kind="schema")
    before = backups.stored

    said = command("--prune", "--dry-run").splitlines()

    assert len([line for line in said if ": kept: " in line or ": deleted: " in line]) == 4
    assert said[-1].startswith("Would delete ")
    assert backups.stored == before
    planned = json.loads(command("--prune", "--dry-run", "--json"))
    gone = {each["name"] for each in planned["decisions"] if not each["keep"]}
    assert gone

    assert command("--prune", "--yes").splitlines()[-1].startswith("Deleted ")

    left = set(Backup.objects.values_list("name", flat=True))
    assert left == {each["name"] for each in planned["decisions"] if each["keep"]}
    assert not [name for name in backups.stored if any(each in name for each in gone)]


def test_the_catalogue_is_rebuilt_from_the_storage(backups: Backups, taken: Backup) -> None:
    Run.objects.update(backup=None)
    Backup.objects.all().delete()
    assert command() == "No backups yet. `manage.py backup` takes the first.\n"

    command("--rebuild")

    again = Backup.objects.get()
    assert (again.name, again.manifest) == (taken.name, taken.manifest)
    assert Run.objects.newest_first()[0].kind == RunKind.REBUILD


def test_a_run_is_asked_to_stop(backups: Backups) -> None:
    run = ask(RunKind.BACKUP, "Full backup", by=ASKER)
    assert command("cancel", str(run.pk)) == (
        f"Backup Full backup (run {run.pk}) is asked to stop, and does at its next step.\n"
    )
    run.refresh_from_db()
    assert run.cancel_asked_at is not None
    Run.objects.update(status=RunStatus.DONE)
    assert "has ended already" in str(refusal("cancel", str(run.pk)))
