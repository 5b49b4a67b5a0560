"""scripts/suite runs what failed once more, and tells bad luck from a fault."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from srvc.environment import BASE_DIR
from tests.harness import run

STEADY = "def test_steady():\n    pass\n"
UNSTEADY = """
from pathlib import Path

def test_unsteady():
    mark = Path(__file__).with_name("seen")
    known = mark.exists()
    mark.touch()
    assert known
"""
BROKEN = "def test_broken():\n    assert False\n"


@pytest.mark.parametrize(
    ("source", "code", "unsteady"),
    [
        (STEADY + UNSTEADY, 0, True),
        (UNSTEADY + BROKEN, 1, True),
        ("", 5, False),  # no test at all
    ],
)
def test_what_fails_twice_is_red_and_what_fails_once_is_listed(
    source: str, code: int, unsteady: bool, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if name != run.VARIABLE}
    done = subprocess.run(
        [
            BASE_DIR / "scripts/suite",
            *("-p", "no:django", "-c", tmp_path / "pytest.ini", tmp_path / "test_it.py"),
        ],
        env={**inherited, "PYTEST_WORKERS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    listed = done.stdout.partition("== unsteady ==")[2].split()
    assert [each.rpartition("::")[2] for each in listed] == (["test_unsteady"] if unsteady else [])
