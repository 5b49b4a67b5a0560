from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer


@pytest.fixture
def embedded(scratch: Path) -> Iterator[EmbeddedServer]:
    """Return a server of this test's own, not started yet."""
    server = EmbeddedServer(scratch / "postgres", settings=configuration.THROW_AWAY)
    yield server
    server.destroy()
