"""`manage.py restore --media`: what it prints, what its exit status says, what a kill leaves."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ops.backups.media_names import unfinished_name
from ops.models import Run, RunStatus
from srvc.environment import BASE_DIR
from tests.ops.backups.conftest import Backups
from tests.ops.backups.terminal import Terminal
from tests.ops.restores.test_recover_command import _shown as shown_by
from tests.ops.restores.uploads import FILES, Uploads


@pytest.fixture
def uploads(backups: Backups, settings: Settings) -> Uploads:
    """Return the folder of uploaded files of this installation, with some in it."""
    settings.MEDIA_ROOT = str(backups.var / "media")
    found = Uploads(backups.var / "media")
    found.put(FILES)
    return found


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("restore", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def outcome(*words: str) -> tuple[int, Any]:
    out = io.StringIO()
    try:
        call_command("restore", *words, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue() or "null")
    return 0, json.loads(out.getvalue())


def test_there_and_back_again(backups: Backups, uploads: Uploads) -> None:
    backup = backups.take(kind="media")
    (uploads.folder / "a.txt").unlink()
    uploads.put({"empty": b"not any more"})
    before = uploads.all()

    status, found = outcome("--media", "--latest", "--dry-run")
    assert (status, found["restored"], found["missing"]) == (0, False, ["a.txt"])
    assert (found["changed"], found["same"]) == (["empty"], 3)
    assert "a.txt" in command("--media", backup.name[-6:], "--dry-run")
    assert uploads.all() == before

    # Nobody is there to say yes.
    assert outcome("--media", "--latest")[0] == 2
    assert uploads.all() == before

    status, found = outcome("--media", "--latest", "--yes")
    assert (status, found["written"]) == (0, ["a.txt", "empty"])
    assert uploads.all() == FILES
    assert outcome("--media", "--list")[1][0]["id"] == found["id"]
    assert str(found["id"]) in command("--media", "--list")
    assert f"restore {found['id']}" in command("--media", "--undo", "--dry-run")
    assert uploads.all() == FILES
    assert outcome("--media", "--undo")[0] == 2
    assert outcome("--media", "--undo", "--yes")[0] == 0
    assert uploads.all() == before


def asked(backups: Backups, answer: str) -> tuple[int, str]:
    """Run it on a terminal, and answer when it asks; what it showed."""
    with Terminal() as terminal:
        process = subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), "restore", "--media", "--latest"],
            cwd=BASE_DIR, env=backups.environment(TERM="xterm", COLUMNS="200"),
            stdin=terminal.stream, stdout=terminal.stream, stderr=terminal.stream,
            start_new_session=True,
        )  # fmt: skip
        try:
            shown = shown_by(process, terminal, "to go on: ")
            terminal.type(answer)
            shown += shown_by(process, terminal, None)
            return process.returncode, shown
        finally:
            process.kill()
            process.wait()


def test_on_a_terminal_what_would_change_is_shown_before_anybody_is_asked(
    backups: Backups, uploads: Uploads
) -> None:
    backups.take(kind="media")
    name = "a\x1b[31mred.txt"
    uploads.put({"a.txt": b"of today", name: b""})
    before = uploads.all()
    status, shown = asked(backups, "another")
    assert (status, uploads.all()) == (2, before)
    assert "a.txt" in shown
    assert "\x1b[31mred" not in shown  # a name says nothing to the terminal
    status, shown = asked(backups, backups.database)
    assert (status, uploads.all()) == (0, {**FILES, name: b""})


def test_a_backup_in_a_folder_is_named_by_its_path(
    backups: Backups, uploads: Uploads, tmp_path: Path
) -> None:
    taken = backups.take(kind="media", folder=str(tmp_path / "disk"))
    (uploads.folder / "a.txt").unlink()
    manifest = tmp_path / f"disk/manifests/{taken.name}.json"
    assert outcome("--media", str(manifest), "--yes", "--file", "a.txt")[0] == 0
    assert uploads.all() == FILES


def test_what_others_changed_since_is_1(backups: Backups, uploads: Uploads) -> None:
    backups.take(kind="media")
    (uploads.folder / "a.txt").unlink()
    assert outcome("--media", "--latest", "--yes")[0] == 0
    uploads.put({"a.txt": b"another"})
    status, found = outcome("--media", "--undo", "--yes")
    assert (status, found["left"], found["undone"]) == (1, ["a.txt"], False)


@pytest.mark.parametrize(
    "words",
    [
        ["--media"],
        ["--media", "--latest"],
        ["--media", "no-such-backup"],
        ["--media", "--to", "2026-11-22"],
        ["--media", "--latest", "--as", "beside"],
        ["--media", "--latest", "--jobs", "4"],
        ["--media", "--latest", "--no-safety-backup"],
        ["--media", "--undo", "7"],
        ["--media", "--undo", "x"],
        ["--latest", "--exact"],
        ["--latest", "--file", "a.txt"],
    ],
)
def test_wrong_usage_and_what_is_not_there_is_2(
    words: list[str], backups: Backups, uploads: Uploads
) -> None:
    assert outcome(*words, "--yes")[0] == 2
    assert uploads.all() == FILES


_SLOW = """
import time
import django
django.setup()
from django.core.management import call_command
from ops.backups.media_restore.folder_place import FolderPlace

whole, done = FolderPlace.{act}, []

def waiting(self, name, *others):
    whole(self, name, *others)
    done.append(name)
    if len(done) == 2:
        print("two are done", flush=True)
        time.sleep(600)

FolderPlace.{act} = waiting
call_command("restore", {words}, "--yes", "--media")
"""


def killed(backups: Backups, act: str, *words: str) -> None:
    """Kill the command when two files have gone the way of an act."""
    script = _SLOW.format(act=act, words=", ".join(map(repr, words)))
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=BASE_DIR, env=backups.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("two are done"):
                break
        else:
            pytest.fail("it ended before it was killed")
        process.kill()


def test_a_kill_leaves_whole_files_and_both_ways_open(backups: Backups, uploads: Uploads) -> None:
    backups.take(kind="media")
    names = sorted(FILES)
    uploads.put(dict.fromkeys(names, b"of today"))
    before = uploads.all()

    killed(backups, "put", "--latest")
    between = uploads.all()
    assert sum(between[name] == FILES[name] for name in names) == 2
    assert sum(between[name] == b"of today" for name in names) == 3
    # As if it had been killed a moment earlier.
    (uploads.folder / unfinished_name()).write_bytes(b"hal")
    run = Run.objects.newest_first()[0]

    killed(backups, "put_back", "--undo")
    assert outcome("--media", "--undo", str(run.pk), "--yes")[0] == 0
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    left = {name: content for name, content in uploads.all().items() if name in before}
    assert left == before

    assert outcome("--media", "--latest", "--yes")[0] == 0
    assert uploads.all() == FILES  # what it had begun is gone, too


def test_a_signal_ends_it_in_order(backups: Backups, uploads: Uploads) -> None:
    backups.take(kind="media")
    before = dict.fromkeys(FILES, b"of today")
    uploads.put(before)
    script = _SLOW.format(act="put", words="'--latest'").replace("time.sleep(600)", "wait()")
    script = script.replace(
        "import time\n",
        "import os, signal\ndef wait(): os.kill(os.getpid(), signal.SIGTERM)\n",
        1,
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=BASE_DIR, env=backups.environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "two are done" in done.stdout, done.stderr
    assert uploads.all() == before
    assert Run.objects.newest_first()[0].status == RunStatus.CANCELLED
