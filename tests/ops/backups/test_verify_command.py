"""`manage.py verify`: which backups it looks at, and what its exit status says of them."""

from __future__ import annotations

import io
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from ops.models import Backup, BackupCopy, BackupState
from tests.ops.backups.conftest import Backups
from tests.ops.backups.gnupg import gnupg_home, import_public_keys


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verify", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def outcome(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    out = io.StringIO()
    try:
        call_command("verify", *arguments, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue() or "[]")
    return 0, json.loads(out.getvalue())


def refusal(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        command(*arguments)
    return caught.value


def damage(backups: Backups, backup: Backup) -> None:
    path = backups.folder / backup.manifest["objects"][0]["name"]
    path.write_bytes(path.read_bytes()[:-1])


def test_the_newest_is_the_full_one_and_no_media_backup_of_a_minute_later(
    backups: Backups, settings: Settings
) -> None:
    full, media = backups.take(kind="full"), backups.take(kind="media")
    assert full.taken_at < media.taken_at

    # As the documented night does it, on a server that has no identity.
    settings.BACKUP_AGE_IDENTITY_FILES = []
    status, found = outcome("--latest")
    assert (status, [each["name"] for each in found]) == (0, [full.name])
    assert (found[0]["sealed"], found[0]["checked"]) == (True, False)
    assert found[0]["state"] == BackupState.TAKEN
    # Nothing was opened, so a restore or a proof is out of reach, and that is told.
    assert outcome("--latest", "--deep")[0] == 2
    assert [each["name"] for each in outcome("--kind", "media")[1]] == [media.name]

    damage(backups, full)
    status, found = outcome("--latest")
    assert (status, found[0]["sealed"], found[0]["state"]) == (1, False, BackupState.FAILED)


def test_an_identity_that_does_not_fit_is_no_server_without_one(
    backups: Backups, settings: Settings, tmp_path: Path
) -> None:
    backups.take(kind="schema")
    other = tmp_path / "other.txt"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    other.chmod(0o600)
    settings.BACKUP_AGE_IDENTITY_FILES = [str(other)]
    status, found = outcome()
    assert (status, found[0]["sealed"], found[0]["checked"]) == (2, False, False)


def test_gpg_without_the_secret_key_is_sealed_too(
    backups: Backups, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.BACKUP_AGE_RECIPIENTS = []
    settings.BACKUP_AGE_IDENTITY_FILES = []
    settings.DBBACKUP_GPG_ALWAYS_TRUST = True
    with gnupg_home() as (home, recipient), gnupg_home("other@example.com") as (server, _):
        settings.DBBACKUP_GPG_RECIPIENT = [recipient]
        monkeypatch.setenv("GNUPGHOME", str(home))
        for kind in ("schema", "media"):
            taken = backups.take(kind=kind)
            assert taken.encryption == "gpg"
        assert outcome("--all")[0] == 0
        # As documented: the server has the public keys, and a secret one of somebody else.
        import_public_keys(home, server)
        monkeypatch.setenv("GNUPGHOME", str(server))
        status, found = outcome("--all")
        assert (status, [each["sealed"] for each in found]) == (0, [True, True])
        assert [each["checked"] for each in found] == [False, False]
        assert outcome("--latest", "--deep")[0] == 2
        damage(backups, taken)
        status, found = outcome("--kind", "media")
        assert (status, found[0]["sealed"], found[0]["state"]) == (1, False, BackupState.FAILED)


def test_without_a_name_it_is_the_newest(backups: Backups) -> None:
    older, newer = backups.take(kind="schema"), backups.take(kind="schema")

    lines = command().splitlines()

    assert lines[0].split() == ["Backup", "In", "State", "Took", "What", "was", "found"]
    assert lines[1].split()[:3] == [newer.name, "dbbackup", "Verified"]
    assert len(lines) == 2
    older.refresh_from_db()
    assert older.state == BackupState.TAKEN
    status, found = outcome("--latest")
    assert status == 0
    assert [each["name"] for each in found] == [newer.name]
    assert found[0]["checked"] is True


def test_they_can_be_named_in_many_ways(backups: Backups) -> None:
    one, other = backups.take(kind="schema"), backups.take(kind="data")

    def named(*arguments: str) -> list[str]:
        return [each["name"] for each in outcome(*arguments)[1]]

    assert named(one.name) == [one.name]
    assert named(one.name[-6:], str(other.pk)) == [one.name, other.name]
    assert named("--all") == [other.name, one.name]
    assert named("--kind", "schema") == [one.name]
    assert named("--all", "--kind", "data") == [other.name]


def test_one_in_a_folder_is_named_by_its_manifest(backups: Backups, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    taken = backups.take(kind="schema", folder=str(folder))
    path = str(folder / f"manifests/{taken.name}.json")

    status, found = outcome(path)

    assert (status, found[0]["state"], found[0]["storage"]) == (0, "verified", str(folder))
    Backup.objects.all().delete()
    assert outcome(path)[1][0]["state"] == "verified"
    assert Backup.objects.get().storage == str(folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert "is in the catalogue as one in" in str(
        refusal(str(moved / f"manifests/{taken.name}.json"))
    )


def test_a_bad_one_is_1_and_the_others_are_checked_all_the_same(backups: Backups) -> None:
    good, bad = backups.take(kind="schema"), backups.take(kind="data")
    damage(backups, bad)

    status, found = outcome("--all")

    assert status == 1
    assert [(each["name"], each["state"]) for each in found] == [
        (bad.name, "failed"),
        (good.name, "verified"),
    ]
    assert "is cut off: the storage dbbackup has" in found[0]["note"]
    error = refusal(bad.name)
    assert error.returncode == 1
    assert str(error).startswith(f"{bad.name} can't be relied on. Take a new one now")


def test_one_that_could_not_be_looked_at_is_2(backups: Backups, settings: Settings) -> None:
    taken = backups.take(kind="schema")
    shutil.move(backups.folder, backups.var / "not mounted")
    status, found = outcome()
    assert (status, found[0]["checked"], found[0]["state"]) == (2, False, "taken")
    assert "nothing is known about what was in it" in found[0]["error"]

    shutil.move(backups.var / "not mounted", backups.folder)
    settings.BACKUP_AGE_IDENTITY_FILES = []
    status, found = outcome(taken.name)
    assert (status, found[0]["checked"], found[0]["error"]) == (0, False, "")
    assert found[0]["sealed"] is True
    assert "could not be read" in found[0]["note"]
    assert "could not be checked as asked" in str(refusal(taken.name, "--deep"))


def test_deep_says_so_when_there_is_nothing_to_restore_rows_into(backups: Backups) -> None:
    rows = backups.take(kind="data")

    status, found = outcome(rows.name, "--deep")

    assert (status, found[0]["state"]) == (2, "verified")
    assert "no schema-only or full backup of the same schema is here" in found[0]["note"]
    backups.take(kind="schema")
    status, found = outcome(rows.name, "--deep")
    assert (status, found[0]["state"]) == (0, "proven")
    assert found[0]["note"].startswith("Restored into the schema of srvc-development-")


def test_copies_are_checked_when_they_are_asked_for(backups: Backups, tmp_path: Path) -> None:
    taken = backups.take(kind="schema")
    assert refusal("--copy").returncode == 2
    elsewhere = shutil.copytree(backups.folder, tmp_path / "elsewhere")
    BackupCopy.objects.create(backup=taken, storage=str(elsewhere), copied_at=timezone.now())

    status, found = outcome("--copy")

    assert (status, found[0]["storage"], found[0]["state"]) == (0, str(elsewhere), "verified")
    taken.refresh_from_db()
    assert taken.state == BackupState.TAKEN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is no such backup"),
        (["nothing"], "There is no backup 'nothing' in the catalogue."),
        (["a", "--all"], "a goes without --all, --latest, --kind and --wal."),
        (["/somewhere/NAME.json"], "is no manifest: it has to be DIR/manifests/NAME.json."),
        (["/nowhere/manifests/NAME.json"], "is not there"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], said: str, backups: Backups) -> None:
    error = refusal(*arguments)

    assert said in str(error)
    assert error.returncode == 2


def test_a_signal_ends_it_and_leaves_no_server(backups: Backups) -> None:
    taken = backups.take()
    process = backups.manage("verify", "--deep")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("restoring"):
            break
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "cancelled" in said
    taken.refresh_from_db()
    assert taken.state == BackupState.TAKEN
    assert not list((backups.var / "scratch").iterdir())
