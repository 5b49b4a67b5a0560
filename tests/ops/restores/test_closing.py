"""Writes are closed: running ones are waited for, new ones refused, operators' own work goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from django.db import connections, transaction

from crm.models import Customer
from ops.models import Run
from ops.postgres.endpoint import Endpoint
from ops.progress import CancelledError, Counter
from ops.restores.complete.closing import is_closed, writes_closed
from ops.restores.errors import ClosedError, RefusedError
from ops.rls.closed import share
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from ops.tasks import acting_as_asker
from tests.factories import make_business, make_customer
from tests.harness import database


@contextmanager
def somebody_writing() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another session in the middle of a transaction that writes."""
    owner = make_business()
    alias = connections.create_connection("default")
    before = connections["default"]
    connections["default"] = alias
    try:
        with acting_as(owner):
            make_customer(last_name="Hopper")
            connections["default"] = before
            assert alias.connection is not None
            yield alias.connection
            connections["default"] = alias
    finally:
        connections["default"] = before
        alias.close()


def test_a_running_write_is_waited_for_and_is_there(fresh_database: str) -> None:
    closed, seen = threading.Event(), []

    def close() -> None:
        with writes_closed("a test", Counter()):
            with Endpoint.of("owner").connect() as owner:
                seen.append(owner.execute("SELECT count(*) FROM customers").fetchone())
            closed.set()

    thread = threading.Thread(target=close)
    with somebody_writing():
        thread.start()
        # Whoever comes while it waits is refused already.
        for _ in range(300):
            if is_closed():
                break
        with pytest.raises(ClosedError), acting_as_admin():
            pass
        assert not closed.is_set()
    thread.join(timeout=30)
    assert closed.is_set()
    assert seen == [(1,)]
    with acting_as_admin():
        assert Customer.objects.count() == 1


def test_who_writes_for_too_long_is_named_and_writes_are_open_again(fresh_database: str) -> None:
    with somebody_writing() as writer:
        with pytest.raises(RefusedError) as refusal, writes_closed("a", Counter(), patience=0.1):
            pass
        text = str(refusal.value)
        assert text.startswith(
            "Writes could not be closed within 0 s: still at work are process "
            f"{writer.info.backend_pid} of the server (srvc_app, for "
        )
        assert text.endswith(
            "The live database was not touched. Wait for that, or end it, and run this again."
        )
        assert not is_closed()
    with writes_closed("first", Counter()):
        with (
            pytest.raises(RefusedError, match=r"closed already, by process \d+ .*closing: first"),
            writes_closed("second", Counter(), patience=0.1),
        ):
            pass
        assert is_closed()


def test_waiting_can_be_cancelled(fresh_database: str) -> None:
    progress = Counter()
    with somebody_writing():
        threading.Timer(0.2, progress.cancel).start()
        with pytest.raises(CancelledError), writes_closed("a test", progress):
            pass
    assert not is_closed()


def test_tasks_and_commands_are_refused_and_operators_work_goes_on(fresh_database: str) -> None:
    business = make_business()
    reading = acting_as(business, writes=False)
    with writes_closed("a test", Counter()):
        for refused in (
            acting_as(business),
            acting_as_admin(),
            acting_as_login(),
            acting_as_asker(business.pk, via="a task"),
        ):
            with pytest.raises(ClosedError, match=r"Nothing of this was saved\."), refused:
                pass
        with reading:
            assert Customer.objects.count() == 0
            # As pages about signing in do: it reads in the same transaction.
            with acting_as_login():
                pass
            with pytest.raises(Exception, match="read-only transaction"), transaction.atomic():
                make_customer()
        Run.objects.using("owner").create(kind="restore")
        with Endpoint.of("owner").connect() as owner:
            owner.execute("UPDATE accounts SET name = name")
            # Work as the owner that users would miss asks first.
            with pytest.raises(ClosedError), owner.transaction():
                share(owner)
    with Endpoint.of("owner").connect() as owner, owner.transaction():
        share(owner)
        with pytest.raises(RefusedError), writes_closed("a test", Counter(), patience=0.1):
            pass


def test_it_dies_with_its_holder(fresh_database: str) -> None:
    with writes_closed("a test", Counter()):
        assert is_closed()
        with database.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'srvc closing: a test' AND datname = %s",
                [fresh_database],
            )
        assert not is_closed()
        with acting_as_admin():
            pass
    assert not is_closed()


def test_another_database_of_the_server_is_not_closed(fresh_database: str) -> None:
    with (
        writes_closed("a test", Counter()),
        closing(Endpoint.of("owner").at("postgres").connect()) as elsewhere,
    ):
        share(elsewhere)
