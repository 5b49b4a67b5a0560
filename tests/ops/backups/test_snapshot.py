"""One moment of a database: what is in it, what may not change, and who is in the way."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ops.backups import snapshot as snapshots
from ops.backups.errors import BackupError
from ops.backups.proving import table_proof
from ops.backups.selection import Table, regexes
from ops.backups.snapshot import snapshot
from ops.postgres import server, tools
from tests.harness import database, run
from tests.ops.backups import copies

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[[], Connection]

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def connect(worker_id: str) -> Iterator[Connect]:
    """Return what connects to a database of this test's own with a few tables."""
    name = f"{run.name()}_{worker_id}_snapshot"
    with database.connect() as connection:
        server.create_database(connection, name, owner="srvc_owner")
    try:
        with database.connect(name) as connection:
            connection.execute(
                'CREATE SCHEMA sales; CREATE TABLE job (a int); CREATE TABLE "Job" (a int);'
                'CREATE TABLE sales.job (a int); CREATE TABLE sales."odd.""name" (a int);'
                "CREATE TABLE customer (a int); CREATE TABLE customer_note (a int);"
                "CREATE TABLE event (a int) PARTITION BY LIST (a);"
                "CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);"
                "CREATE VIEW view_only AS SELECT 1 AS one;"
                "INSERT INTO job VALUES (1), (2); INSERT INTO event VALUES (1)"
            )
        yield functools.partial(database.connect, name)
    finally:
        with database.connect() as connection:
            server.drop_database(connection, name, end_sessions=True)


def named(tables: list[Table]) -> list[str]:
    return [f"{each.schema}.{each.name}" for each in tables]


def test_it_holds_every_table_that_has_rows_in_the_dumps_order(connect: Connect) -> None:
    with snapshot(connect) as seen:
        assert named(seen.tables) == [
            "public.Job",
            "public.customer",
            "public.customer_note",
            "public.event_1",
            "public.job",
            "sales.job",
            'sales.odd."name',
        ]
        assert {each.name: each.kind for each in seen.tables}["event_1"] == "partition"
        assert seen.patterns == []
        assert seen.taken_at.utcoffset() is not None
        assert seen.wal_position.count("/") == 1


def test_it_sees_one_moment(connect: Connect) -> None:
    with snapshot(connect) as seen, connect() as other:
        other.execute("INSERT INTO job VALUES (3); DELETE FROM event")
        assert table_proof(seen.connection, "public", "job").rows == 2
        assert table_proof(seen.connection, "public", "event_1").rows == 1
    with snapshot(connect) as seen:
        assert table_proof(seen.connection, "public", "job").rows == 3


def test_pg_dump_dumps_that_moment(connect: Connect, tmp_path: Path) -> None:
    with snapshot(connect, tables=["job"]) as seen, connect() as other:
        other.execute("INSERT INTO job VALUES (333)")
        major = server.facts(other).major
        target = database.admin() | {"dbname": other.info.dbname}
        password = target.pop("password", None)
        dump = tools.run(
            tools.find("pg_dump", major),
            f"--dbname={make_conninfo(**target)}",
            f"--snapshot={seen.id}",
            *(f"--table={pattern}" for pattern in seen.patterns),
            seconds=60,
            password=password,
        ).stdout
    assert "COPY public.job (a) FROM stdin;\n1\n2\n\\.\n" in dump
    assert "333" not in dump
    assert dump.count("CREATE TABLE") == 1


def test_no_table_can_be_altered_while_it_is_held(connect: Connect) -> None:
    with snapshot(connect) as seen, connect() as other:
        other.execute("SET lock_timeout = '50ms'")
        for statement in ("ALTER TABLE job ADD b int", "DROP TABLE event", "TRUNCATE sales.job"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(statement.encode())
        assert table_proof(seen.connection, "public", "job").rows == 2
    with connect() as other:
        other.execute("DROP TABLE job")


def test_a_table_made_or_dropped_in_between_starts_it_over(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = ["CREATE TABLE late (a int)", "DROP TABLE job", "ALTER TABLE customer RENAME TO c"]
    lock = snapshots._lock

    def interrupted(connection: Connection, tables: list[Table]) -> bool:
        if statements:
            with connect() as other:
                other.execute(statements.pop().encode())
        return lock(connection, tables)

    monkeypatch.setattr(snapshots, "_lock", interrupted)
    with snapshot(connect) as seen:
        assert named(seen.tables) == [
            "public.Job",
            "public.c",
            "public.customer_note",
            "public.event_1",
            "public.late",
            "sales.job",
            'sales.odd."name',
        ]
    assert statements == []


def test_a_schema_that_never_rests_is_given_up(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, made = snapshots._lock, iter(range(100))

    def interrupted(connection: Connection, tables: list[Table]) -> bool:
        with connect() as other:
            other.execute(f"CREATE TABLE made_{next(made)} (a int)".encode())
        return lock(connection, tables)

    monkeypatch.setattr(snapshots, "_lock", interrupted)
    with (
        pytest.raises(BackupError, match=r"came and went .* 5 times over\. Nothing was taken\."),
        snapshot(connect),
    ):
        pass


def test_who_holds_a_table_for_too_long_is_named(connect: Connect) -> None:
    with connect() as holder:
        holder.execute("SET application_name = 'a migration'")
        pid = holder.info.backend_pid
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE sales.job")
        with (
            pytest.raises(BackupError) as refused,
            snapshot(connect, lock_timeout_seconds=0.05),
        ):
            pass
    said = str(refused.value)
    assert said.startswith(
        f"sales.job was locked for too long by process {pid} of postgres "
        "(a migration), whose command began 2"
    )
    assert said.endswith(
        " UTC. Nothing was taken and nothing was changed. Wait until that has ended, or end it, "
        "and run this again."
    )


def test_who_waits_in_front_of_us_is_named_with_whom_he_waits_for(connect: Connect) -> None:
    with connect() as migration, connect() as watcher, connect() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM job")
        reader_pid, pid = reader.info.backend_pid, migration.info.backend_pid
        waiting = threading.Thread(target=migration.execute, args=("ALTER TABLE job ADD b int",))
        waiting.start()
        try:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
            while watcher.execute(waits, [pid]).fetchone() != (1,):
                assert waiting.is_alive()
            with (
                pytest.raises(BackupError) as refused,
                snapshot(connect, lock_timeout_seconds=0.05),
            ):
                pass
        finally:
            reader.execute("ROLLBACK")
            waiting.join()
    assert f"which itself waits for process {reader_pid}. " in str(refused.value)


def test_a_login_without_rights_is_refused(connect: Connect) -> None:
    def restricted() -> Connection:
        connection = connect()
        connection.execute(f"SET SESSION AUTHORIZATION {copies.READER}")
        return connection

    with (
        pytest.raises(BackupError, match=r"may not read every table: permission denied for "),
        snapshot(restricted),
    ):
        pass


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["job"], ["public.job"]),
        (["JOB"], ["public.job"]),
        (['"Job"'], ["public.Job"]),
        (["*.job"], ["public.job", "sales.job"]),
        (["sales.*"], ["sales.job", 'sales.odd."name']),
        (['sales."odd.""name"'], ['sales.odd."name']),
        (["customer*"], ["public.customer", "public.customer_note"]),
        (["customer_not?", "job"], ["public.customer_note", "public.job"]),
        (["(job|customer)"], ["public.customer", "public.job"]),
        (["event"], ["public.event_1"]),
    ],
)
def test_tables_are_chosen_as_pg_dump_does(
    connect: Connect, patterns: list[str], expected: list[str]
) -> None:
    with snapshot(connect, tables=patterns) as seen:
        assert named(seen.tables) == expected


def test_partitions_come_with_their_table(connect: Connect) -> None:
    with snapshot(connect, tables=["event"]) as seen:
        assert seen.patterns == ['"public"."event"', '"public"."event_1"']


def test_a_name_without_a_schema_is_found_by_the_logins_own_path(connect: Connect) -> None:
    def elsewhere() -> Connection:
        connection = connect()
        connection.execute("SET search_path = sales, public")
        return connection

    with snapshot(elsewhere, tables=["job"]) as seen:
        assert named(seen.tables) == ["sales.job"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "custmer",
            (
                "There is no table 'custmer'. Nothing was taken. Near it: public.customer, "
                "public.customer_note."
            ),
        ),
        (
            "view_only",
            (
                "There is no table 'view_only'. Nothing was taken. `psql -c '\\dt *.*'` lists all "
                "tables."
            ),
        ),
        (
            "a.b.c",
            (
                "'a.b.c' is no table's name. Nothing was taken. Write NAME or SCHEMA.NAME, with "
                'double quotes around capitals and dots that belong to a name ("My table").'
            ),
        ),
        (
            "job(",
            (
                "'job(' is no pattern of tables' names (invalid regular expression: parentheses () "
                "not balanced). Nothing was taken. Put double quotes around a name with special "
                "characters."
            ),
        ),
    ],
)
def test_a_pattern_without_a_table_is_refused(connect: Connect, pattern: str, message: str) -> None:
    with pytest.raises(BackupError) as refused, snapshot(connect, tables=["job", pattern]):
        pass
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("pattern", "schema", "name"),
    [
        ("Job", None, "^(job)$"),
        ('"Job*"', None, "^(Job\\*)$"),
        ("a$b.c?d", "^(a\\$b)$", "^(c.d)$"),
        ('"it""s.x".*', '^(it"s\\.x)$', "^(.*)$"),
        ('pre"Fix"post', None, "^(preFixpost)$"),
        ("j[ob]+", None, "^(j[ob]+)$"),
        ("int[]", None, "^(int\\[])$"),
    ],
)
def test_patterns_become_regular_expressions_as_in_psql(
    pattern: str, schema: str | None, name: str
) -> None:
    assert regexes(pattern) == (schema, name)


@pytest.mark.parametrize("pattern", ["", "a.", '"open', "a.b.c"])
def test_what_is_no_name_is_refused(pattern: str) -> None:
    with pytest.raises(BackupError, match="is no table's name"):
        regexes(pattern)
