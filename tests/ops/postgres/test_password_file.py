"""Programs sign in by the settings alone: nobody's ~/.pgpass is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.postgres import tools
from ops.postgres.endpoint import Endpoint
from tests.ops.backups.replicating import replicating_server, server_of_a_module  # noqa: F401

server = server_of_a_module()  # it wants passwords; the run's server may trust everybody


@pytest.mark.parametrize("password", [None, "test"])
def test_a_program_without_a_password_does_not_find_one_at_home(
    password: str | None, fresh_database: str, tmp_path: Path
) -> None:
    known = Endpoint.of("owner")
    owner = replace(known, password=password)
    file = tmp_path / ".pgpass"
    file.write_text("*:*:*:*:test\n")
    file.chmod(0o600)
    done = tools.run(
        known.program("psql"),
        *owner.arguments(),
        *("--no-password", "--no-psqlrc", "--command=SELECT 1"),
        seconds=tools.MINUTE,
        password=owner.password,
        extra_environment={"HOME": str(tmp_path)},
        check=False,
    )
    assert (done.returncode == 0) == (password is not None), done.stderr
