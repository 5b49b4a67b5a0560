"""Finding PostgreSQL's programs and running them."""

import os
import time
from pathlib import Path

import pytest

from ops.postgres import tools
from ops.postgres.errors import ToolError


def script(folder: Path, name: str, text: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


def test_the_program_of_the_wanted_major_version_is_found() -> None:
    found = tools.find("pg_dump", 18)
    assert tools.major_of(found) == 18


def test_a_program_of_another_major_version_on_path_is_passed_over(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(scratch, "pg_dump", "echo 'pg_dump (PostgreSQL) 13.4'")
    monkeypatch.setenv("PATH", f"{scratch}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ToolError) as refusal:
        tools.find("pg_dump", 12)
    assert str(refusal.value).startswith("No pg_dump of PostgreSQL 12 was found; there is only ")
    assert f"{scratch / 'pg_dump'} (13)" in str(refusal.value)
    assert "apt-get install postgresql-client-12" in str(refusal.value)


def test_a_failure_carries_the_programs_last_words(scratch: Path) -> None:
    program = script(scratch, "pg_dump", "echo one >&2; echo two >&2; exit 3")
    with pytest.raises(ToolError, match=r"^pg_dump failed \(3\): one / two$"):
        tools.run(program, seconds=10)


def test_a_program_that_takes_too_long_is_stopped(scratch: Path) -> None:
    program = script(scratch, "pg_dump", "exec sleep 60")
    began = time.monotonic()
    with pytest.raises(ToolError, match="pg_dump did not finish within 1 seconds"):
        tools.run(program, seconds=1)
    assert time.monotonic() - began < 10


def test_a_missing_program_is_told_apart_from_a_failing_one(scratch: Path) -> None:
    with pytest.raises(ToolError, match=r"nowhere could not be run: No such file or directory\.$"):
        tools.run(scratch / "nowhere", seconds=1)


def test_the_password_travels_outside_argv_and_nothing_else_comes_along(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "not for others")
    program = script(scratch, "psql", 'echo "$@"; env')
    done = tools.run(program, "--host", "there", seconds=10, password="geheim")
    arguments, *environment = done.stdout.splitlines()
    assert arguments == "--host there"
    assert "PGPASSWORD=geheim" in environment
    assert "not for others" not in done.stdout
