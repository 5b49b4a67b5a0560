"""`manage.py backup` as an operator, cron and a program meet it."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ops.backups.lock import one_at_a_time
from ops.models import Backup, BackupKind, Run, RunKind, RunStatus
from ops.runs import ask, running
from tests.ops.backups.conftest import ASKER, Backups


def backup(*arguments: str) -> tuple[str, str]:
    """Return what the command wrote to its output and to its error output."""
    out, err = io.StringIO(), io.StringIO()
    call_command("backup", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refusal(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        backup(*arguments)
    return caught.value


def test_it_says_in_two_lines_what_was_taken_and_where(backups: Backups) -> None:
    out, err = backup("--name", "before_upgrade", "--jobs", "3")

    taken = Backup.objects.get()
    first, second = out.splitlines()
    assert re.fullmatch(
        rf"{taken.name}: full backup, {taken.tables} tables, {taken.rows:,} rows, [\d.]+ [kM]B "
        r"\([\d.]+ [kM]B before compression\), in [\d.]+ s, encrypted by age",
        first,
    )
    assert second == (
        f"Taken, in {backups.folder} as {taken.name}.dump.zst.age. "
        f"Check it: manage.py verify {taken.name}"
    )
    assert "-full-before_upgrade-" in taken.name
    assert err.splitlines()[-1] == "dumping …"
    assert Run.objects.get().via == "cron or script"


@pytest.mark.parametrize(
    ("arguments", "kind", "folder"),
    [
        (["--full"], BackupKind.FULL, ""),
        (["--schema-only"], BackupKind.SCHEMA, "partial/"),
        (["--data-only"], BackupKind.DATA, "partial/"),
        (["--table", "quote*", "--table", "public.ops_run"], BackupKind.TABLES, "partial/"),
    ],
)
def test_each_kind_has_its_place(
    backups: Backups, arguments: list[str], kind: BackupKind, folder: str
) -> None:
    out, _ = backup(*arguments, "--json")

    told = json.loads(out)
    taken = Backup.objects.get()
    assert (told["taken"], told["id"], told["kind"], taken.kind) == (True, taken.pk, kind, kind)
    assert f"{folder}{taken.name}.dump.zst.age" in backups.stored
    assert told["objects"][0]["size"] == taken.size
    assert backups.unfinished == []


def test_tables_are_taken_by_the_patterns_of_pg_dump(backups: Backups) -> None:
    backup("--table", "quote*", "--table", "ops_run")

    proof = Backup.objects.get().manifest["proof"]
    names = {table["name"] for table in proof["tables"]}
    assert "ops_run" in names
    assert names - {"ops_run"} == {name for name in names if name.startswith("quote")}
    assert len(names) > 2


def test_a_folder_can_be_named(backups: Backups, tmp_path: Path) -> None:
    folder = tmp_path / "a folder, made for it"
    backup("--output", str(folder), "--no-encrypt")

    taken = Backup.objects.get()
    assert (taken.storage, taken.encryption) == (str(folder), "none")
    assert (folder / f"{taken.name}.dump.zst").is_file()
    assert (folder / f"manifests/{taken.name}.json").is_file()
    assert not backups.folder.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "before upgrade"], "can't be part of a backup's name"),
        (["--full", "--base"], "not allowed with argument"),
        (["--full", "--table", "customers"], "not allowed with argument"),
        (["--jobs", "0"], "'0' is no number from 1 to 32"),
        (["--output", "/dev/null"], "/dev/null is no folder. Nothing was taken."),
        (["staging"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_2_and_leaves_no_trace(
    backups: Backups, arguments: list[str], said: str
) -> None:
    error = refusal(*arguments)
    assert said in str(error)
    if said[:3] in ("can", "/de"):  # argparse ends by 2 by itself
        assert error.returncode == 2
    assert Run.objects.count() == 0


def test_a_wrong_setting_of_backups_is_refused_and_one_of_mail_is_not(
    backups: Backups, settings: Settings
) -> None:
    from srvc.configuration import Problem

    mail = Problem("missing", "EMAIL_URL", "is not set", "Set it.")
    settings.CONFIGURATION_ERRORS = [mail]
    backup("--schema-only")
    wrong = Problem("invalid", "BACKUP_STORAGE", "is no address", "Write s3://BUCKET.")
    settings.CONFIGURATION_ERRORS = [mail, wrong]

    error = refusal("--schema-only")

    assert error.returncode == 2
    assert str(error) == "Nothing was done.\nBACKUP_STORAGE is no address. Write s3://BUCKET."
    assert Backup.objects.count() == 1


def test_the_second_at_once_is_4_and_says_who_is_first(backups: Backups) -> None:
    first = ask(RunKind.BACKUP, "Full backup", by=ASKER, arguments={"kind": "full"})
    with running(first), one_at_a_time(BackupKind.FULL, first):
        first.refresh_from_db()
        error = refusal("--full")
        backup("--schema-only")  # another kind is not in the way

    assert error.returncode == 4
    assert str(error) == (
        f"Another full backup is being taken since {first.started_at:%H:%M:%S} UTC by "
        f"tester@example.com (test) on {first.host}, process {first.process}. Nothing was done. "
        f"Wait for it to end, or cancel it: manage.py backups cancel {first.pk}"
    )
    first.refresh_from_db()
    assert first.status == RunStatus.DONE
    refused = Run.objects.exclude(pk=first.pk).get(status=RunStatus.FAILED)
    assert refused.message == str(error)


def test_programs_are_told_of_failures_too(backups: Backups) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("backup", "--table", "custmers", "--json", stdout=out)

    assert caught.value.returncode == 1
    told = json.loads(out.getvalue())
    assert told == {"taken": False, "error": str(caught.value)}
    assert "customers" in told["error"]
    assert backups.stored == []


def test_a_lost_off_site_copy_is_3_and_the_backup_is_kept(
    backups: Backups, settings: Settings, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("where a folder should be")
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup_copy": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(blocked / "copies")},
        },
    }

    error = refusal("--schema-only")

    assert error.returncode == 3
    assert "is taken, but its off-site copy failed" in str(error)
    assert Backup.objects.count() == 1
    assert backups.unfinished == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_cleans_up_and_is_130(backups: Backups, number: signal.Signals) -> None:
    with backups.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        process = backups.manage("backup")
        assert process.stderr is not None
        while "waiting for locks" not in (line := process.stderr.readline()):
            assert line, "it ended before it waited"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert out == ""
    assert err.splitlines() == [
        f"{number.name}: stopping and cleaning up …",
        "CommandError: It was cancelled. Nothing of it was kept.",
    ]
    assert backups.stored == []
    assert Run.objects.get().status == RunStatus.CANCELLED


def test_a_process_of_its_own_takes_one_like_cron_would(backups: Backups) -> None:
    process = backups.manage("backup", "development", "--schema-only", "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["name"] == Backup.objects.get().name


def test_a_database_that_is_away_is_told_in_a_sentence(backups: Backups) -> None:
    process = backups.manage(
        "backup", DATABASE_OWNER_URL=f"postgres://srvc_owner:x@127.0.0.1:1/{backups.database}"
    )
    assert isinstance(process, subprocess.Popen)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("CommandError: The database gave up: connection failed:")
    assert "Traceback" not in err
