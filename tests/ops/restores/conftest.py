"""Restores stand on what backups stand on."""

import pytest

from tests.harness import database
from tests.ops.backups.conftest import backups  # noqa: F401 (a fixture)
from tests.ops.backups.replicating import replicating_server  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def template(request: pytest.FixtureRequest) -> None:
    """Give a database of a test's own the template that provisioning makes beside each."""
    if "fresh_database" in request.fixturenames:
        database.provide_template(request.getfixturevalue("fresh_database"))
