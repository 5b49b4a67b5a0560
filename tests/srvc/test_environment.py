"""Which environment a process is, and what a file of variables has to look like."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from srvc import environment

ROOT = environment.BASE_DIR


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=bare | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_development_unless_srvc_env_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRVC_ENV")
    assert environment.environment_name() == "development"
    monkeypatch.setenv("SRVC_ENV", " staging ")
    assert environment.environment_name() == "staging"


@pytest.mark.parametrize("name", ["Staging", "../etc", "a b", "1st", "x" * 32])
def test_what_can_be_no_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("SRVC_ENV", name)
    with pytest.raises(environment.EnvironmentNameError) as refused:
        environment.environment_name()
    assert str(refused.value) == (
        f"SRVC_ENV={name!r} is no environment's name (lower-case letters, digits, - and _). "
        "Nothing was started. Name one such as staging or production."
    )


def test_manage_py_tells_a_bad_name_in_one_line() -> None:
    done = manage("check", SRVC_ENV="Prod!")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "srvc: SRVC_ENV='Prod!' is no environment's name (lower-case letters, digits, - and _). "
        "Nothing was started. Name one such as staging or production.\n"
    )


def test_a_file_gives_values_and_real_variables_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nexport SRVC_TEST_A=from file\nSRVC_TEST_B='$quoted'\n")
    monkeypatch.setenv("SRVC_ENV_FILE", str(file))
    monkeypatch.setenv("SRVC_TEST_A", "real")
    monkeypatch.setenv("SRVC_TEST_B", "removed after the test")
    monkeypatch.delenv("SRVC_TEST_B")
    environment.load("staging")
    assert (os.environ["SRVC_TEST_A"], os.environ["SRVC_TEST_B"]) == ("real", "$quoted")
    monkeypatch.delenv("SRVC_TEST_B")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"A=1\nDATABASE_PASSWORD secret\n", "has no NAME=value on line 2"),
        (b" A=1\n", "has no NAME=value on line 1"),
        (b"A=\xff\xfe\n", "is no UTF-8 text"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    monkeypatch.setenv("SRVC_ENV_FILE", str(file))
    with pytest.raises(environment.EnvironmentFileError) as refused:
        environment.load("staging")
    assert str(refused.value) == (
        f"{file} {why}. None of its values are in force and nothing was started. Correct the file; "
        ".env.example shows how one looks."
    )


def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRVC_ENV_FILE", str(tmp_path))
    with pytest.raises(environment.EnvironmentFileError, match=r"can't be read \(Is a directory\)"):
        environment.load("development")


def test_an_environment_without_file_and_variables_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRVC_ENV_FILE", str(tmp_path / ".env.staging"))
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(environment.EnvironmentFileError, match=r"has no \.env\.staging in"):
        environment.load("staging")
    monkeypatch.setenv("DATABASE_URL", "postgres://srvc_app:x@db/srvc")
    environment.load("staging")
