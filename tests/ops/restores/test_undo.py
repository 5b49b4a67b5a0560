"""A swap carries the record of operations along, and is taken back; what was kept goes in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connections
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import Settings

from crm.models import Customer, User
from ops.models import (
    Area,
    Backup,
    BackupKind,
    EventKind,
    Finding,
    FindingEvent,
    Notice,
    NoticeState,
    Restore,
    RestoreState,
    Run,
    RunKind,
    RunStatus,
    Severity,
    Statement,
    StatementSample,
)
from ops.postgres import roles, server
from ops.postgres.endpoint import Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.progress import Counter
from ops.restores.complete.beside import MARK
from ops.restores.complete.carrying import carried, carry, tables
from ops.restores.complete.closing import writes_closed
from ops.restores.complete.kept import drop, expire, kept_databases
from ops.restores.complete.swap import take_the_place
from ops.restores.complete.undo import ask_for_undo, require_undoable, undo_restore
from ops.restores.errors import RefusedError, RestoreError
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as, acting_as_admin
from ops.runs import Asker, running
from tests.factories import make_business, make_customer
from tests.harness import database

BY = Asker("operator@example.com", "test")


def names_on_the_server(prefix: str) -> dict[str, bool]:
    """The databases that begin so, and whether one may connect to them."""
    with database.connect() as admin:
        rows = admin.execute(
            "SELECT datname, datallowconn FROM pg_database WHERE starts_with(datname, %s)"
            " AND NOT datistemplate ORDER BY 1",
            [prefix],
        )
        return {name.removeprefix(prefix): is_open for name, is_open in rows}


def customers() -> list[str]:
    with acting_as_admin():
        return list(Customer.objects.order_by("pk").values_list("last_name", flat=True))


def something_told_of_a_finding() -> Notice:
    """Keep what health checks and their watcher do, in tables that refer to each other."""
    now = timezone.now()
    finding = Finding.objects.create(
        check_name="disk", area=Area.STORAGE, severity=Severity.CRITICAL,
        title="The disk is full", first_seen=now, opened_at=now, last_seen=now,
    )  # fmt: skip
    event = FindingEvent.objects.create(finding=finding, kind=EventKind.OPENED, at=now)
    statement = Statement.objects.create(
        query_id="1", role="srvc_app", text="SELECT 1", first_seen=now, last_seen=now
    )
    StatementSample.objects.create(
        statement=statement, since=now, taken_at=now, calls=1, milliseconds=1.0, rows=1
    )
    return Notice.objects.create(
        event=event, channel="email", state=NoticeState.SENT, due_at=now, sent_at=now
    )


@dataclass
class Past:
    """The live database, and what a restore would put in its place: it has no customer yet."""

    live: str
    owner: User

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.of("owner")

    def beside(self, number: int) -> str:
        """Make a database of the past, whose people are those that the live one had at first."""
        name = f"{self.live}_restore_{number}"
        with database.connect() as admin:
            server.create_from_template(admin, name, database.template(), owner=roles.OWNER)
        with database.connect(self.live) as there, database.connect(name) as here:
            here.execute("SET session_replication_role = replica")
            for table in ("users", "accounts"):
                rows = f"COPY (SELECT * FROM {table} WHERE {_FIRST[table]}) TO STDOUT"
                with (
                    there.cursor().copy(rows.encode()) as source,
                    here.cursor().copy(f"COPY {table} FROM STDIN".encode()) as target,
                ):
                    for block in source:
                        target.write(block)
        return name

    def restore(self, number: int) -> Restore:
        """Do what a complete restore does once its database beside is proven."""
        beside, kept = self.beside(number), f"{self.live}_before_{number}"
        with as_owner_by_default():
            row = Restore.objects.create(origin="a test", database=self.live, beside=beside)

            def record(connection: Any) -> None:
                connection.execute(
                    "UPDATE ops_restore SET state = 'swapped', swapped_at = now(), beside = '',"
                    " kept_database = %s, kept_until = %s WHERE id = %s",
                    [kept, timezone.now() + timedelta(days=7), row.pk],
                )

            with writes_closed("a test", Counter(), endpoint=self.endpoint):
                take_the_place(
                    self.live, beside, kept,
                    endpoint=self.endpoint, progress=Counter(), record=record,
                )  # fmt: skip
            row.refresh_from_db()
        return row

    def undo(self, restore: Restore) -> Restore:
        with as_owner_by_default():
            return undo_restore(ask_for_undo(restore, by=BY))


_FIRST = {"users": "id = (SELECT min(id) FROM users)", "accounts": "true"}


@pytest.fixture
def past(fresh_database: str) -> Past:
    owner = make_business()
    with acting_as(owner):
        make_customer(last_name="Lovelace")
    return Past(fresh_database, owner)


def test_a_restore_is_taken_back_with_nothing_lost_on_either_side(past: Past) -> None:
    row = past.restore(1)
    assert row.state == RestoreState.SWAPPED
    assert customers() == []
    with acting_as(past.owner):
        make_customer(last_name="Hopper")
    undone = past.undo(row)
    assert customers() == ["Lovelace"]
    assert (undone.state, undone.undone_by) == (RestoreState.UNDONE, BY.name)
    assert undone.kept_database == f"{past.live}_undone_{row.pk}"
    assert names_on_the_server(past.live) == {"": True, f"_undone_{row.pk}": False}
    with as_owner_by_default():
        run = Run.objects.get(kind=RunKind.UNDO)
        assert (run.status, run.asked_by) == (RunStatus.DONE, BY.name)
        assert f"What was undone is kept as {undone.kept_database}" in run.message
        with pytest.raises(RefusedError, match=r"was undone already, by operator@example\.com"):
            require_undoable(undone)
    # What users wrote after the restore is there, until its time is over.
    with database.connect() as admin:
        admin.execute(f'ALTER DATABASE "{undone.kept_database}" ALLOW_CONNECTIONS true')
    with database.connect(undone.kept_database) as connection:
        assert connection.execute("SELECT last_name FROM customers").fetchall() == [("Hopper",)]


def test_the_record_of_operations_the_queue_and_sign_ins_come_along(past: Past) -> None:
    stranger = make_business()  # who came after the moment that is restored

    def sign_in(key: object) -> str:
        session = SessionStore()
        session["_auth_user_id"] = str(key)
        session.create()
        return str(session.session_key)

    here, gone, nobody = sign_in(past.owner.pk), sign_in(stranger.pk), SessionStore()
    nobody.create()
    expired = sign_in(past.owner.pk)
    Session.objects.filter(pk=expired).update(expire_date=timezone.now() - timedelta(days=1))
    task = DBTaskResult.objects.create(
        args_kwargs={"args": [], "kwargs": {}}, task_path="ops.background.carry_out",
        backend_name="default", run_after=timezone.now(), status="RUNNING",
    )  # fmt: skip
    with as_owner_by_default():
        Backup.objects.create(name="yesterday", kind=BackupKind.FULL, taken_at=timezone.now())
        told = something_told_of_a_finding()
        run = Run.objects.create(kind=RunKind.RESTORE, subject="yesterday")
        # A run that is under way tells its progress from a thread of its own, all the time.
        with running(run) as own:
            own.phase("restoring", 3, "tables")
            past.restore(1)
            own.say("It went well.")
        assert [backup.name for backup in Backup.objects.all()] == ["yesterday"]
        # What was found before is known, and nobody is told of it again.
        kept = Notice.objects.get(pk=told.pk)
        assert (kept.state, kept.event.finding.title) == (NoticeState.SENT, "The disk is full")
        assert StatementSample.objects.get().statement.text == "SELECT 1"
        run.refresh_from_db()
        assert (run.status, run.message) == (RunStatus.DONE, "It went well.")
        # Numbers go on where they were.
        assert Run.objects.create(kind=RunKind.DRILL).pk == run.pk + 1
    task.refresh_from_db()
    task.set_successful(None)
    assert {*Session.objects.values_list("pk", flat=True)} == {here, nobody.session_key}
    assert gone not in {here, nobody.session_key}


def test_carrying_changes_nothing_but_its_tables_and_nobody_writes_meanwhile(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = past.beside(1)
    wanted = tables()
    assert {"ops_run", "ops_backup", "ops_restore", "django_session"} <= {*wanted}
    assert {"django_tasks_database_dbtaskresult", "axes_accessattempt"} <= {*wanted}
    assert not {"users", "customers", "django_migrations"} & {*wanted}
    with database.connect(past.live) as other:
        other.execute("SET lock_timeout = '50ms'")
        with carried(past.live, beside, past.endpoint, Counter()):
            with pytest.raises(Exception, match="lock timeout"):
                other.execute("INSERT INTO django_session VALUES ('k', 'd', now())")
            other.execute("UPDATE accounts SET name = name")
        other.execute("INSERT INTO django_session VALUES ('k', 'd', now() + '1 day')")
        other.execute("BEGIN")
        other.execute("DELETE FROM django_session")
        monkeypatch.setattr("ops.restores.complete.carrying._LOCK_SECONDS", 0.1)
        with pytest.raises(RestoreError, match="The live database was not touched"):
            carry(past.live, beside, past.endpoint, Counter())
        other.execute("ROLLBACK")


def a_later_restore(past: Past, first: Restore) -> None:
    past.restore(2)


def a_migration(past: Past, first: Restore) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('crm', '0099_new', now())"
        )


def somebody_dropped_it(past: Past, first: Restore) -> None:
    with database.connect() as admin:
        server.drop_database(admin, first.kept_database)


def its_time_was_over(past: Past, first: Restore) -> None:
    with as_owner_by_default():
        assert expire(timezone.now() + timedelta(days=8)) == [first.kept_database]


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (a_later_restore, r"Restore \d+ of \S+ came after it and has to be undone first\."),
        (a_migration, r"lacks the migrations crm\.0099_new\. Nothing was changed\."),
        (somebody_dropped_it, "is not on the server any more: somebody dropped it"),
        (its_time_was_over, "is not kept any more, so it can't be taken back"),
    ],
)
def test_an_undo_that_would_lose_something_is_refused_and_changes_nothing(
    past: Past, happened: Callable[[Past, Restore], None], words: str
) -> None:
    first = past.restore(1)
    happened(past, first)
    before = names_on_the_server(past.live)
    first.refresh_from_db(using="owner")
    with pytest.raises(RefusedError, match=words):
        past.undo(first)
    assert names_on_the_server(past.live) == before
    first.refresh_from_db(using="owner")
    assert first.state == RestoreState.SWAPPED
    with acting_as(past.owner):  # writes are open
        make_customer()


def test_restores_are_undone_one_after_the_other(past: Past) -> None:
    first, second = past.restore(1), past.restore(2)
    past.undo(second)
    past.undo(first)
    assert customers() == ["Lovelace"]
    assert sorted(names_on_the_server(past.live)) == sorted(
        ["", f"_undone_{first.pk}", f"_undone_{second.pk}"]
    )


def test_only_what_is_marked_as_kept_is_dropped_and_only_in_time(
    past: Past, settings: Settings
) -> None:
    first = past.restore(1)
    settings.RESTORE_KEEP_DAYS = 7
    now = timezone.now()

    def make(name: str, remark: str) -> None:
        with past.endpoint.at(MAINTENANCE_DATABASE).connect() as session:
            server.create_from_template(
                session, name, roles.template_of(past.live), owner=roles.OWNER
            )
            session.execute(f"COMMENT ON DATABASE \"{name}\" IS '{remark}'".encode())

    def mark(since: datetime) -> str:
        return f"{MARK} of {past.live}, kept since {since.isoformat()}"

    make(f"{past.live}_before_8", "of the accountant")
    make(f"{past.live}_before_9", mark(now - timedelta(days=8)))  # no row knows it any more
    make(f"{past.live}_before_10", mark(now - timedelta(days=6)))
    with as_owner_by_default(), past.endpoint.at(MAINTENANCE_DATABASE).connect() as session:
        kept = [each.name.removeprefix(past.live) for each in kept_databases(session, past.live)]
        assert kept == ["_before_9", "_before_10", "_before_1"]
        assert expire(now) == [f"{past.live}_before_9"]
        drop(first)
        assert first.dropped_at is not None
        with pytest.raises(RefusedError, match="Nothing was dropped"):
            drop(first)
        assert expire(now + timedelta(days=400)) == [f"{past.live}_before_10"]
    assert names_on_the_server(past.live) == {"": True, "_before_8": True}
