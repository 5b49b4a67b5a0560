"""Rows of partitioned tables come back through the table they are a part of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.models import Recovery, RecoveryState
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial import narrowing
from ops.restores.partial.plan import tables_needed
from ops.restores.partial.recover import (
    ask_for_recovery,
    ask_for_undo_recovery,
    recover,
    undo_recovery,
)
from ops.restores.requests import RecoverRequest
from ops.rls.router import as_owner_by_default
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.restores.between import Between, cloned

KINDS = """
    CREATE TABLE by_range (id int GENERATED ALWAYS AS IDENTITY, at date NOT NULL, note text,
        PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE by_range_1 PARTITION OF by_range FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
    CREATE TABLE by_range_2 PARTITION OF by_range FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
    CREATE TABLE by_list (id int, place text NOT NULL, note text, PRIMARY KEY (id, place))
        PARTITION BY LIST (place);
    CREATE TABLE by_list_north PARTITION OF by_list FOR VALUES IN ('n');
    CREATE TABLE by_list_rest PARTITION OF by_list DEFAULT;
    CREATE TABLE by_hash (id int PRIMARY KEY, note text) PARTITION BY HASH (id);
    CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE by_both (id int, at date, place text, note text, PRIMARY KEY (id, at, place))
        PARTITION BY RANGE (at);
    CREATE TABLE by_both_old PARTITION OF by_both FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')
        PARTITION BY LIST (place);
    CREATE TABLE by_both_old_n PARTITION OF by_both_old FOR VALUES IN ('n');
    CREATE TABLE by_both_old_s PARTITION OF by_both_old FOR VALUES IN ('s');
    CREATE TABLE by_both_new PARTITION OF by_both DEFAULT;
    -- Lines of by_hash, in partitions that are no children of the other's.
    CREATE TABLE lines (hash_id int NOT NULL REFERENCES by_hash, no int, note text,
        PRIMARY KEY (hash_id, no)) PARTITION BY RANGE (no);
    CREATE TABLE lines_1 PARTITION OF lines FOR VALUES FROM (0) TO (2);
    CREATE TABLE lines_2 PARTITION OF lines FOR VALUES FROM (2) TO (9);
    INSERT INTO by_range (at, note)
        SELECT date '2026-01-15' + 30 * n, 'note ' || n FROM generate_series(0, 9) n;
    INSERT INTO by_list SELECT n, CASE WHEN n % 2 = 0 THEN 'n' ELSE 's' END, 'note ' || n
        FROM generate_series(0, 9) n;
    INSERT INTO by_hash SELECT n, 'note ' || n FROM generate_series(0, 9) n;
    INSERT INTO by_both SELECT n, date '2026-01-15' + 30 * n, CASE WHEN n % 2 = 0 THEN 'n' ELSE 's'
        END, 'note ' || n FROM generate_series(0, 9) n;
    INSERT INTO lines SELECT n, m, 'line' FROM generate_series(0, 9) n, generate_series(0, 3) m
"""
TABLES = ["by_range", "by_list", "by_hash", "by_both"]
LEAVES = (
    "by_range_1", "by_range_2", "by_list_north", "by_list_rest", "by_hash_0", "by_hash_1",
    "by_both_old_n", "by_both_old_s", "by_both_new", "lines_1", "lines_2",
)  # fmt: skip


@pytest.fixture
def between(fresh_database: str) -> Iterator[Between]:
    live = Between(fresh_database, "")
    live.execute(KINDS)
    with cloned(fresh_database) as both, as_owner_by_default():
        yield both


def rows(between: Between, table: str) -> list[tuple[object, ...]]:
    return between.rows(f"SELECT t.*, t.tableoid::regclass::text FROM {table} t ORDER BY 1, 2")


@pytest.fixture(params=[10_000, 0], ids=["few", "many"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rows be compared here, and by the difference that is made for many."""
    monkeypatch.setattr(narrowing, "FEW", request.param)


def planned(recovery: Recovery) -> dict[str, dict[str, int]]:
    return {
        each["table"].removeprefix("public."): {act: n for act, n in each["planned"].items() if n}
        for each in recovery.plan["tables"]
    }


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.usefixtures("few")
def test_rows_of_each_kind_come_back_are_set_back_and_taken_back(
    between: Between, table: str
) -> None:
    before = between.proof(*LEAVES)
    if table == "by_hash":
        between.execute("DELETE FROM lines WHERE hash_id IN (1, 8)")
    between.execute(
        f"DELETE FROM {table} WHERE note IN ('note 1', 'note 8');"
        f" UPDATE {table} SET note = 'changed' WHERE note IN ('note 2', 'note 9')"
    )
    harmed = rows(between, table)

    recovery = between.recover(tables=(table,), mode="all")

    assert recovery.state == RecoveryState.APPLIED
    lines = {"lines": {"inserted": 8}} if table == "by_hash" else {}
    assert planned(recovery) == {table: {"inserted": 2, "updated": 2}, **lines}
    assert between.proof(*LEAVES) == before  # each row in its partition, no other one touched
    undo_recovery(ask_for_undo_recovery(recovery, by=ASKER))
    assert rows(between, table) == harmed


@pytest.mark.usefixtures("few")
def test_exact_takes_out_what_came_since_and_some_rows_leave_the_others_alone(
    between: Between,
) -> None:
    before = between.proof(*LEAVES)
    between.execute(
        "INSERT INTO by_both VALUES (90, '2026-02-02', 'n'), (91, '2026-12-12', 'x');"
        "DELETE FROM by_both WHERE id IN (1, 8)"
    )
    some = between.recover(tables=("by_both",), where="id = 1")
    assert planned(some) == {"by_both": {"inserted": 1}}
    exact = between.recover(tables=("public.by_both",), exact=True)
    assert planned(exact) == {"by_both": {"inserted": 1, "deleted": 2}}
    assert between.proof(*LEAVES) == before
    undo_recovery(ask_for_undo_recovery(exact, by=ASKER))
    assert between.rows("SELECT id FROM by_both WHERE id >= 8 ORDER BY id") == [(9,), (90,), (91,)]


def test_references_from_and_to_partitions_are_followed_and_kept(between: Between) -> None:
    between.execute("DELETE FROM lines WHERE hash_id = 3; DELETE FROM by_hash WHERE id = 3")
    # A line stands on its head, which comes along; with the head come all of its lines.
    recovery = between.recover(tables=("lines",), where="hash_id = 3 AND no = 2")
    assert planned(recovery) == {"by_hash": {"inserted": 1}, "lines": {"inserted": 1}}
    between.execute("INSERT INTO by_hash VALUES (70); INSERT INTO lines VALUES (70, 1)")
    with pytest.raises(ConflictError) as refused:
        between.recover(tables=("by_hash",), exact=True, related=False)
    assert "70" in str(refused.value)
    assert between.rows("SELECT count(*) FROM lines WHERE hash_id = 70") == [(1,)]


def test_the_sequence_of_a_partitioned_table_goes_past_what_came_back(between: Between) -> None:
    between.execute("DELETE FROM by_range WHERE id = 10; SELECT setval('by_range_id_seq', 1)")
    between.recover(tables=("by_range",))
    assert between.rows("SELECT nextval('by_range_id_seq')") == [(11,)]


def test_a_table_that_was_partitioned_since_is_paired_with_what_it_was(between: Between) -> None:
    with between.connect(between.past) as past:
        past.execute(
            "CREATE TABLE plain AS SELECT id, place, note FROM by_list;"
            "DROP TABLE by_list; ALTER TABLE plain RENAME TO by_list"
        )
    between.execute("DELETE FROM by_list WHERE id < 4")
    recovery = between.recover(tables=("by_list",))
    assert planned(recovery) == {"by_list": {"inserted": 4}}


def test_a_partition_is_not_recovered_by_itself_and_none_is_made_anew(between: Between) -> None:
    with as_owner_by_default(), between.sessions() as (live, _):
        for name in ("by_both_old", "by_both_old_n", "public.by_list_north"):
            with pytest.raises(RefusedError, match="is a partition of"):
                tables_needed(RecoverRequest(tables=(name,)), live)
    between.execute("DROP TABLE by_list_rest")
    with pytest.raises(ConflictError):
        between.recover(tables=("by_list",))
    between.execute("DROP TABLE by_list")
    with pytest.raises(RefusedError, match="was partitioned"):
        between.recover(tables=("by_list",))


@pytest.mark.long
def test_out_of_a_backup_come_the_rows_of_partitions_that_are_gone_today(
    fresh_database: str, backups: Backups
) -> None:
    between = Between(fresh_database, "")
    between.execute(KINDS)
    backups.take()
    before = {table: between.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    between.execute(
        "DELETE FROM lines; DELETE FROM by_hash; DELETE FROM by_range; DELETE FROM by_list;"
        # Two partitions went with their rows; what others take such rows is there.
        "DROP TABLE by_both_old; DROP TABLE by_range_1;"
        "CREATE TABLE by_range_0 PARTITION OF by_range DEFAULT"
    )
    for table in TABLES:
        request = RecoverRequest(tables=(table,))
        done = recover(ask_for_recovery(request, by=ASKER))
        assert done.state == RecoveryState.APPLIED, done.note
    after = {table: between.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    assert after == before
