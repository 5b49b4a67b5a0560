"""A request's SQL may take the lock that closes writes, and closes them for nobody."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from crm.models import Customer, User
from ops.progress import Counter
from ops.restores.complete.closing import is_closed, writes_closed
from ops.rls.closed import LOCK_CLASS, WRITES, ClosedError
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer

TAKEN = "SELECT pg_advisory_lock(%s, %s)"


@pytest.fixture
def owner(fresh_database: str) -> User:
    return make_business()


@pytest.fixture
def intruder(owner: User) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another session of the web process's login, as a member."""
    login = connections["default"].get_connection_params()
    wanted = {name: login[name] for name in ("host", "port", "user", "password", "dbname")}
    with psycopg.connect(**wanted, autocommit=True) as connection:
        connection.execute("SET ROLE srvc_member")
        yield connection


def is_ended(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_who_takes_the_lock_without_being_a_restore_loses_the_session(
    owner: User, intruder: psycopg.Connection[tuple[object, ...]]
) -> None:
    intruder.execute(TAKEN, [LOCK_CLASS, WRITES])
    assert is_closed()
    with acting_as(owner):
        make_customer()
    assert is_ended(intruder)
    assert not is_closed()
    with acting_as(owner):
        assert Customer.objects.count() == 1


def test_who_only_waits_for_it_refuses_nobody_either(
    owner: User, intruder: psycopg.Connection[tuple[object, ...]]
) -> None:
    second = connections.create_connection("default")
    first, connections["default"] = connections["default"], second
    try:
        with acting_as(owner):
            connections["default"] = first
            waiting = threading.Thread(target=_wait, args=[intruder])
            waiting.start()
            for _ in range(500):
                if is_closed():
                    break
                time.sleep(0.01)
            with acting_as(owner):
                make_customer()
            waiting.join(timeout=30)
            assert is_ended(intruder)
            connections["default"] = second
    finally:
        connections["default"] = first
        second.close()


def _wait(intruder: psycopg.Connection[tuple[object, ...]]) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        intruder.execute(TAKEN, [LOCK_CLASS, WRITES])


def test_a_restore_closes_writes_all_the_same(
    owner: User, intruder: psycopg.Connection[tuple[object, ...]]
) -> None:
    with writes_closed("a test", Counter()):
        with pytest.raises(ClosedError), acting_as(owner):
            pass
        # Also for a member who asks for it by SQL.
        assert intruder.execute("SELECT ops_share_writes()").fetchone() == (False,)
        assert is_closed()
    assert not is_closed()
