"""The worker stays when the database is away for a moment, and its task says how it ended."""

from __future__ import annotations

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django_tasks import task
from django_tasks_db.models import DBTaskResult

from ops.tasks import enqueue_as
from srvc.management.commands.worker import Worker
from tests.factories import make_business
from tests.harness import database

_QUEUE = type(DBTaskResult.objects.all())


@pytest.fixture(autouse=True)
def _signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "configure_signals", lambda self: None)


def end_every_session() -> None:
    """What a swap does to whoever is connected."""
    name = connections["default"].settings_dict["NAME"]
    with database.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )


@task()
def disconnected(user_id: int, query: str) -> str:
    """Be disconnected, and ask the database all the same if there is something to ask."""
    end_every_session()
    if query:
        with connections["default"].cursor() as cursor:
            cursor.execute(query)
    return "done"


def queued(query: str) -> str:
    return str(enqueue_as(make_business(), disconnected, query=query).id)


def work() -> None:
    call_command("worker", batch=True, interval=0, startup_delay=False, verbosity=0)


def test_a_task_whose_connection_is_ended_says_how_it_went(fresh_database: str) -> None:
    went_well, failed = queued(""), queued("SELECT 1")
    work()
    done = DBTaskResult.objects.get(pk=went_well)
    assert (done.status, done.return_value) == ("SUCCESSFUL", "done")
    done = DBTaskResult.objects.get(pk=failed)
    assert done.status == "FAILED"
    assert "terminating connection due to administrator command" in done.traceback


def test_an_idle_worker_connects_again(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, looks, ready = queued(""), [], _QUEUE.ready

    def disconnected_at_first(self: object) -> object:
        looks.append(1)
        if len(looks) == 1:
            connections["default"].ensure_connection()
            end_every_session()
        return ready(self)  # type: ignore[arg-type]

    monkeypatch.setattr(_QUEUE, "ready", disconnected_at_first)
    work()
    assert len(looks) == 3  # disconnected, the task, nothing more
    assert DBTaskResult.objects.get(pk=key).status == "SUCCESSFUL"


def test_another_failure_of_the_database_ends_it(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> object:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        raise AssertionError

    monkeypatch.setattr(_QUEUE, "ready", broken)
    with pytest.raises(Exception, match="no_such_column") as failure:
        work()
    assert isinstance(failure.value.__cause__, psycopg.errors.UndefinedColumn)
