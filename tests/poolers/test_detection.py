"""A pooler is told from PostgreSQL itself, in each mode and where numbers agree by chance."""

from __future__ import annotations

import time

import pytest

from ops.postgres import pooler
from ops.postgres.endpoint import Endpoint
from tests.harness import database
from tests.poolers.bouncer import needs_pgbouncer
from tests.poolers.conftest import Start


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_a_pooler_is_seen_in_every_mode(start: Start, mode: str) -> None:
    pooled = start(pool_mode=mode)
    for _ in range(3):  # a session of the server that served others before, too
        with pooled.connect() as connection:
            assert pooler.is_pooled(connection)


def test_postgresql_itself_is_no_pooler(fresh_database: str) -> None:
    since = time.monotonic()
    with database.connect(fresh_database) as connection:
        assert not pooler.is_pooled(connection, since=since)


def test_a_process_older_than_its_connection_is_a_poolers(fresh_database: str) -> None:
    """Supavisor counts from one: its number may agree with the process's by chance."""
    with database.connect(fresh_database) as connection:
        assert pooler.is_pooled(connection, since=time.monotonic() + 3600)


def test_looking_leaves_no_transaction_open(fresh_database: str) -> None:
    with Endpoint.of("owner").connect(autocommit=False) as connection:
        assert connection.info.transaction_status.name == "IDLE"


@needs_pgbouncer
def test_replication_through_a_pooler_is_seen_by_the_owner(start: Start) -> None:
    pooled = start(ignore_startup_parameters="replication")
    with Endpoint.of("owner").connect() as owner:
        url = f"{pooled.url('srvc_owner')}?replication=true"
        with Endpoint.from_url(url).connect() as through:
            assert pooler.is_pooled_replication(through, owner)
        direct = Endpoint.replication()
        assert direct is not None
        with direct.connect() as connection:
            assert not pooler.is_pooled_replication(connection, owner)


@needs_pgbouncer
@pytest.mark.parametrize(
    ("lines", "hands_on"),
    [
        ({}, False),
        ({"server_reset_query_always": "0"}, True),
        ({"server_reset_query": ""}, True),
        ({"pool_mode": "session", "server_reset_query_always": "0"}, False),
        ({"pool_mode": "session", "server_reset_query": ""}, True),
    ],
)
def test_it_is_seen_whether_a_pooler_hands_on_what_a_session_carries(
    start: Start, lines: dict[str, str], hands_on: bool
) -> None:
    pooled = start(**lines)
    assert pooler.hands_on_sessions(pooled.connect) is hands_on
    # Looking has left nothing.
    with pooled.connect() as connection:
        row = connection.execute("SELECT current_setting('srvc.pooler_probe', true)").fetchone()
    assert row is not None
    assert not row[0]


def test_without_a_pooler_there_is_nothing_to_hand_on(fresh_database: str) -> None:
    assert pooler.hands_on_sessions(Endpoint.of("default").connect) is None
