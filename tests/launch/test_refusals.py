"""What stops `make run` before anything is started: one clear line each, nothing broken."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from srvc.environment import BASE_DIR
from tests.harness import database
from tests.launch.conftest import Installation


def refusal(installation: Installation, **changes: str) -> str:
    """Return the one line that the launcher refused with, having started and made nothing."""
    launch = installation.launch(**changes)
    assert launch.wait() == 1
    assert not installation.file.exists()
    assert not (installation.var / "postgres").exists()
    assert launch.said.count("\n") == 1
    return launch.said.strip()


def test_a_taken_port(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        said = refusal(installation)
    assert said == (
        f"SRVC: Port {installation.port} on 127.0.0.1 is taken by another program. Nothing was "
        "started. Stop that program, or choose another port: make run PORT=8000"
    )


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "80.5"])
def test_a_port_that_is_none(installation: Installation, port: str) -> None:
    assert refusal(installation, PORT=port) == (
        f"SRVC: PORT={port} is no port (1 to 65535). Nothing was started. Correct it, or leave it "
        "out for 8000."
    )


def test_a_host_that_is_not_this_machine(installation: Installation) -> None:
    said = refusal(installation, HOST="192.0.2.1")
    assert said.startswith("SRVC: No program may listen on 192.0.2.1:")
    assert "Nothing was started." in said


@pytest.mark.parametrize(
    ("given", "missing"),
    [("DATABASE_URL", "DATABASE_OWNER_URL"), ("DATABASE_OWNER_URL", "DATABASE_URL")],
)
def test_one_address_without_the_other(
    installation: Installation, given: str, missing: str
) -> None:
    said = refusal(installation, **{given: "postgres://x:secret@127.0.0.1/x"})
    assert said == (
        f"SRVC: {given} is set but {missing} is not. Nothing was started. SRVC needs both logins "
        f"of one database: set {missing} in .env, or neither for the embedded PostgreSQL."
    )


def test_another_environment_without_a_database(installation: Installation) -> None:
    said = refusal(installation, SRVC_ENV="staging")
    assert said.startswith("SRVC: The environment staging has no ")
    assert "DATABASE_URL" in said
    assert "Nothing was started." in said


def test_an_environment_that_can_be_none(installation: Installation) -> None:
    said = refusal(installation, SRVC_ENV="../other")
    assert "SRVC_ENV='../other' is no environment's name" in said


def test_a_server_that_does_not_let_the_logins_in(installation: Installation) -> None:
    launch = installation.launch(
        DATABASE_URL=database.url("srvc_app", "no_such_database"),
        DATABASE_OWNER_URL=database.url("srvc_owner", "no_such_database"),
    )
    assert launch.wait() == 1
    said = launch.said.strip().splitlines()[-1]
    assert said.startswith("SRVC: srvc_owner cannot sign in to the database: ")
    assert "run `manage.py provision` once" in said
    assert "No data was touched." in said
    assert database.PASSWORD + "@" not in said


def test_data_of_another_major_version(installation: Installation) -> None:
    home = installation.var / "postgres"
    home.mkdir(parents=True)
    (home / "PG_VERSION").write_text("16\n")
    launch = installation.launch()
    assert launch.wait() == 1
    said = launch.said.strip().splitlines()
    assert said[-1].startswith(f"SRVC: The data in {home} was written by PostgreSQL 16, and SRVC")
    assert [path.name for path in home.iterdir()] == ["PG_VERSION"]


@pytest.fixture
def no_python(scratch: Path) -> Path:
    """Return a PATH on which every Python is a shim that fails, as pyenv's may."""
    folder = scratch / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "cksum", "mkdir", "dirname", "grep", "rm", "flock"):
        for place in ("/usr/bin", "/bin"):
            if Path(place, name).exists():
                (folder / name).symlink_to(Path(place, name))
                break
    for name in ("python3.14", "python3.13", "python3.12", "python3", "python"):
        shim = folder / name
        shim.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
        shim.chmod(0o755)
    return folder


def test_a_missing_python(scratch: Path, no_python: Path) -> None:
    project = scratch / "project"
    (project / "scripts").mkdir(parents=True)
    (project / "scripts" / "install").write_bytes((BASE_DIR / "scripts" / "install").read_bytes())
    (project / "requirements.lock").write_text("")
    done = subprocess.run(
        ["/bin/sh", project / "scripts" / "install", "requirements.lock"],
        env={"PATH": str(no_python), "HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("SRVC: no Python 3.12 or newer (with venv) was found; nothing")
    assert done.stderr.count("\n") == 1
    assert not (project / ".venv").exists()
