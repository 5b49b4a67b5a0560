"""What tests of poolers stand on: a PgBouncer before a database of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connections

from tests.poolers.bouncer import Bouncer, bouncer

Start = Callable[..., Bouncer]


@pytest.fixture
def start(fresh_database: str, scratch: Path) -> Iterator[Start]:
    """Return a way to start one with lines of its configuration changed."""
    with ExitStack() as running:
        yield lambda **changes: running.enter_context(bouncer(scratch, fresh_database, **changes))


@pytest.fixture
def pooled(start: Start) -> Bouncer:
    """Return one as the manual has it."""
    return start()


@pytest.fixture
def owner_behind(pooled: Bouncer) -> Iterator[Bouncer]:
    """Let the owner's address lead through the pooler."""
    lead("owner", pooled)
    yield pooled
    connections["owner"].close()


@pytest.fixture
def web_behind(pooled: Bouncer) -> Iterator[Bouncer]:
    """Let the web process's address lead through the pooler."""
    lead("default", pooled)
    yield pooled
    connections["default"].close()


def lead(alias: str, through: Bouncer) -> None:
    """Let an alias lead through a pooler, until `fresh_database` puts it back."""
    connections[alias].close()
    connections[alias].settings_dict.update(HOST="127.0.0.1", PORT=str(through.port))
