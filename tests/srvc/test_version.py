"""`version` says which SRVC, schema and server there are, and whether they fit together."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

from srvc import product


def version(*, code: int = 0) -> dict[str, Any]:
    out = io.StringIO()
    if code:
        with pytest.raises(CommandError) as ended:
            call_command("version", "--json", stdout=out)
        assert ended.value.returncode == code
    else:
        call_command("version", "--json", stdout=out)
    said: dict[str, Any] = json.loads(out.getvalue())
    return said


def test_product_schema_and_server(fresh_database: str) -> None:
    said = version()
    assert (said["product"], said["version"]) == ("SRVC", settings.VERSION)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        assert cursor.fetchone() == (said["server"],)
    assert said["schema"]["state"] == "current"
    assert said["schema"]["pending"] == said["schema"]["unknown"] == []
    out = io.StringIO()
    call_command("version", stdout=out)
    assert out.getvalue().startswith(f"SRVC {settings.VERSION}\n")


def test_the_command_line_reaches_it(fresh_database: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "version", "--json"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["version"] == settings.VERSION
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'billing' AND name LIKE '0001%'")
    behind = subprocess.run(
        [sys.executable, "manage.py", "version"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        check=False,
    )
    assert behind.returncode == 1


def test_a_schema_that_is_behind_or_newer_is_said_and_ends_with_1(fresh_database: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'billing' AND name LIKE '0001%'")
        behind = version(code=1)["schema"]
        assert (behind["state"], len(behind["pending"])) == ("behind", 1)
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('crm', '9999_from_the_future', now())"
        )
    newer = version(code=1)["schema"]
    assert (newer["state"], newer["unknown"]) == ("newer", ["crm.9999_from_the_future"])


def test_without_its_database_the_product_is_said_all_the_same(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["owner"].close()
    monkeypatch.setitem(connections["owner"].settings_dict, "PORT", "1")
    said = version(code=1)
    assert said["version"] == settings.VERSION
    assert (said["server"], said["schema"]) == (None, {"state": "unknown"})


def test_the_commit_is_read_of_clones_worktrees_and_packed_branches(tmp_path: Path) -> None:
    def git(*arguments: str, at: Path) -> str:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        done = subprocess.run(
            ["/usr/bin/env", "git", *identity, *arguments],
            cwd=at,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    clone, worktree = tmp_path / "clone", tmp_path / "worktree"
    clone.mkdir()
    assert product.commit(clone) == ""
    git("init", "-q", at=clone)
    git("commit", "-q", "--allow-empty", "-m", "first", at=clone)
    git("worktree", "add", "-q", "-b", "other", str(worktree), at=clone)
    git("commit", "-q", "--allow-empty", "-m", "second", at=worktree)
    heads = {place: git("rev-parse", "HEAD", at=place) for place in (clone, worktree)}
    assert {place: product.commit(place) for place in heads} == heads
    git("pack-refs", "--all", at=clone)
    assert {place: product.commit(place) for place in heads} == heads
    git("checkout", "-q", "--detach", at=clone)
    assert product.commit(clone) == heads[clone]
