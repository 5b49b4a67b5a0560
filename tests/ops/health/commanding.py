"""Running operators' commands as a shell would, without a process for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import load_command_class


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What a program reads."""
        return json.loads(self.out)


Manage = Callable[..., Ended]


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str]) -> Manage:
    """Return a way to run a command: manage("inspect", "--json")."""

    def run(name: str, *arguments: str) -> Ended:
        command = load_command_class("ops", name)
        status: Any = 0
        try:
            command.run_from_argv(["manage.py", name, *arguments])
        except SystemExit as end:
            status = end.code or 0
        told = capsys.readouterr()
        return Ended(int(status), told.out, told.err)

    return run
