"""Where two tables differ is found by key, whatever the types, names and characters are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ops.backups.inspection import table_name
from ops.postgres.endpoint import Connection
from ops.progress import CancelledError, Counter
from ops.restores.diff import buckets
from ops.restores.diff.pairing import Pairing
from ops.restores.diff.rows import RowDifference, keys, rows
from ops.restores.diff.tables import Chosen, Kind, difference
from ops.restores.errors import RefusedError, RestoreError
from tests.ops.backups.test_deep import __file__ as beside_the_schema
from tests.ops.restores.two_sides import beside, differ, pairing

EVERYTHING = Path(beside_the_schema).with_name("one_of_everything.sql")
Both = tuple[Connection, Connection]


@pytest.fixture
def both(fresh_database: str) -> Iterator[Both]:
    with beside(fresh_database) as sessions:
        yield sessions


def on_both(both: Both, statement: str) -> None:
    for each in both:
        each.execute(statement.encode())


def test_each_kind_of_difference_is_told_with_old_and_new(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int PRIMARY KEY, a text, b int)")
    past.execute("INSERT INTO public.t VALUES (1, 'same', 1), (2, 'old', NULL), (3, 'gone', 3)")
    live.execute("INSERT INTO public.t VALUES (1, 'same', 1), (2, 'new', NULL), (4, NULL, 4)")

    found, told = differ(live, past, pairing("public.t", "id a b"))

    assert (found.missing, found.changed, found.extra) == (1, 1, 1)
    assert told == [
        RowDifference(("2",), Kind.CHANGED, {"a": ("old", "new")}),
        RowDifference(("4",), Kind.EXTRA, {"id": (None, "4"), "a": (None, None), "b": (None, "4")}),
        RowDifference(
            ("3",), Kind.MISSING, {"id": ("3", None), "a": ("gone", None), "b": ("3", None)}
        ),
    ]
    assert list(keys(past, found, Kind.MISSING)) == [[("3",)]]


def test_tables_of_every_type_are_equal_to_themselves_and_one_value_is_found(
    both: Both,
) -> None:
    text = EVERYTHING.read_text().replace("{reader}", "srvc_member").replace("{writer}", "srvc_app")
    live, past = both
    past.execute(text.encode())
    live.execute(text.replace("CREATE EXTENSION pg_trgm;", "").encode())
    columns = [
        name
        for (name,) in live.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'customer'::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
        ).fetchall()
    ]
    moved = [name for name in columns if name != "seen"]  # when it was made
    customer = Pairing(
        [(n, n) for n in moved], ("public", "customer"), ("public", "customer"), ("id",)
    )
    event = pairing("public.event", "id at region", key="id at")

    assert differ(live, past, customer)[1] == []
    assert differ(live, past, event)[1] == []

    live.execute("ALTER TABLE customer DISABLE TRIGGER ALL")
    live.execute("UPDATE customer SET balance = 1.6, home.city = 'u' WHERE serial = 1")
    live.execute("ALTER TYPE mood RENAME VALUE 'happy' TO 'glad'")
    live.execute("UPDATE event SET region = NULL WHERE id = 60")

    told = {each.key: each.columns for each in differ(live, past, customer)[1]}
    assert told.pop(("1000",)) == {
        "balance": ("1.5000", "1.6000"),
        "home": ('("s,t",,"{a,""b c""}")', '("s,t",u,"{a,""b c""}")'),
        "mood": ("happy", "glad"),
    }
    assert len(told) == 300
    assert set(map(str, told.values())) == {str({"mood": ("happy", "glad")})}
    (moved_on,) = differ(live, past, event)[1]
    assert moved_on.columns == {"region": ("r60", None)}


def test_keys_of_several_columns_and_odd_characters_are_paired(both: Both) -> None:
    live, past = both
    where = ('odd "schema"', 'a.b\n %s "c"')
    name = sql.Identifier(*where)
    for each in both:
        each.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(where[0])))
        each.execute(
            sql.SQL(
                'CREATE TABLE {} ("the ""key" text, part date, v text,'
                ' PRIMARY KEY ("the ""key", part))'
            ).format(name)
        )
    odd = ["", " ", "\t", "\n", "\\", "\\N", "'", '"', "ü", "%s", "{}", "a,b", "$1"]
    table = sql.SQL("INSERT INTO {} VALUES ({}, '2024-02-29', {})")
    for text in odd:
        past.execute(table.format(name, sql.Literal(text), sql.Literal("v")))
        live.execute(table.format(name, sql.Literal(text), sql.Literal("w")))
    names = ('the "key', "part", "v")
    pair = Pairing([(each, each) for each in names], where, where, names[:2])

    found, told = differ(live, past, pair)

    assert (found.missing, found.changed, found.extra) == (0, len(odd), 0)
    assert {each.key for each in told} == {(text, "2024-02-29") for text in odd}
    assert all(each.columns == {"v": ("v", "w")} for each in told)


def test_columns_that_were_renamed_or_got_another_type_are_held_against_each_other(
    both: Both,
) -> None:
    live, past = both
    past.execute("CREATE TABLE old (id int PRIMARY KEY, n int, price numeric(8,1), v varchar(9))")
    live.execute(
        "CREATE TABLE new (id bigint PRIMARY KEY, number text, price numeric(9,2), v varchar(3))"
    )
    past.execute("INSERT INTO old VALUES (1, 7, 2.5, 'abc'), (2, 8, 2.5, 'abcdef')")
    live.execute("INSERT INTO new VALUES (1, '7', 2.50, 'abc'), (2, '9', 2.50, 'abc')")

    _, told = differ(live, past, pairing("public.new", "id n=number price v", past="public.old"))

    assert told == [
        RowDifference(("2",), Kind.CHANGED, {"number": ("8", "9"), "v": ("abcdef", "abc")})
    ]


def test_types_without_a_cast_are_compared_as_text_and_that_is_said(both: Both) -> None:
    live, past = both
    past.execute("CREATE TABLE t (id int PRIMARY KEY, v point)")
    live.execute("CREATE TABLE t (id int PRIMARY KEY, v uuid)")
    past.execute("INSERT INTO t VALUES (1, '(1,2)')")
    live.execute("INSERT INTO t VALUES (1, NULL)")

    found, told = differ(live, past, pairing("public.t", "id v"))

    assert told == [RowDifference(("1",), Kind.CHANGED, {"v": ("(1,2)", None)})]
    assert found.notes == ("public.t.v was point and is uuid now; they are compared as text.",)


def test_a_value_that_does_not_fit_todays_type_is_told_in_a_sentence(both: Both) -> None:
    live, past = both
    past.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    live.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    past.execute("INSERT INTO t VALUES (1, 'seven')")

    with pytest.raises(RestoreError, match=r"public\.t can't be compared: a value .*\"seven\""):
        difference(live, past, pairing("public.t", "id v"), Counter())


def test_what_can_not_be_paired_is_refused(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int, v text)")

    with pytest.raises(RefusedError, match=r"public\.t has no primary key"):
        difference(live, past, pairing("public.t", "id v", key=""), Counter())
    with pytest.raises(RefusedError, match=r"The database has no table public\.nowhere"):
        difference(live, past, pairing("public.nowhere", "id"), Counter())
    with pytest.raises(RefusedError, match=r"The backup has no column w in public\.t"):
        difference(live, past, pairing("public.t", "id w=v"), Counter())
    past.execute("INSERT INTO public.t VALUES (1, 'a'), (1, 'b')")
    with pytest.raises(RefusedError, match=r"1 key of public\.t is there more than once"):
        difference(live, past, pairing("public.t", "id v"), Counter())


def test_only_chosen_rows_are_compared(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    past.execute("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 20) n")
    live.execute("INSERT INTO t SELECT n, 'new' FROM generate_series(11, 40) n")
    past.execute("CREATE TEMPORARY TABLE chosen AS SELECT id FROM t WHERE id IN (9, 10, 11)")
    live.execute("CREATE TEMPORARY TABLE mine AS SELECT id FROM t WHERE id IN (11, 12, 39)")

    of_past, told = differ(
        live, past, pairing("public.t", "id v"), chosen=Chosen(sql.Identifier("chosen"))
    )
    of_both, _ = differ(
        live,
        past,
        pairing("public.t", "id v"),
        chosen=Chosen(sql.Identifier("chosen"), sql.Identifier("mine")),
    )

    assert (of_past.missing, of_past.changed, of_past.extra) == (2, 1, 0)
    assert [each.key for each in told] == [("11",), ("9",), ("10",)]
    assert (of_both.missing, of_both.changed, of_both.extra) == (2, 2, 1)


def test_a_large_table_is_looked_at_bucket_by_bucket(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, past = both
    monkeypatch.setattr(buckets, "_SMALL", 10)
    on_both(both, "CREATE TABLE t (id uuid PRIMARY KEY, v text)")
    rows_ = "SELECT md5(n::text)::uuid, repeat('v', 50) || n FROM generate_series(1, 20000) n"
    on_both(both, f"INSERT INTO t {rows_}")
    live.execute("UPDATE t SET v = 'new' WHERE id = md5('7')::uuid")
    live.execute("DELETE FROM t WHERE id = md5('8')::uuid")
    live.execute("INSERT INTO t VALUES (md5('x')::uuid, '')")

    found, told = differ(live, past, pairing("public.t", "id v"))

    assert (found.missing, found.changed, found.extra) == (1, 1, 1)
    assert [each.kind for each in told] == [Kind.CHANGED, Kind.EXTRA, Kind.MISSING]


def test_the_live_session_stays_as_it_was_and_can_be_in_a_transaction(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    past.execute("INSERT INTO t VALUES (1, 'old')")
    with live.transaction():
        live.execute("SET LOCAL timezone TO 'Europe/Zurich'")
        live.execute("INSERT INTO t VALUES (1, 'mine')")
        _, told = differ(live, past, pairing("public.t", "id v"))
        (zone,) = live.execute("SHOW timezone").fetchone() or ("",)

    assert zone == "Europe/Zurich"
    assert told == [RowDifference(("1",), Kind.CHANGED, {"v": ("old", "mine")})]
    left = live.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").fetchone()
    assert left == (0,)


def test_a_row_that_moves_meanwhile_is_told_as_it_is_now(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    past.execute("INSERT INTO t VALUES (1, 'old'), (2, 'old'), (3, 'old')")
    live.execute("INSERT INTO t VALUES (1, 'new'), (2, 'new'), (3, 'new')")
    found = difference(live, past, pairing("public.t", "id v"), Counter())
    live.execute("UPDATE t SET v = 'old' WHERE id = 1")
    live.execute("DELETE FROM t WHERE id = 2")
    live.execute("UPDATE t SET v = 'newer' WHERE id = 3")

    told = list(rows(live, past, found))

    assert told == [
        RowDifference(("2",), Kind.MISSING, {"id": ("2", None), "v": ("old", None)}),
        RowDifference(("3",), Kind.CHANGED, {"v": ("old", "newer")}),
    ]


def test_it_stops_when_asked_to_also_while_a_server_is_busy(both: Both) -> None:
    live, past = both
    on_both(both, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    progress = Counter()
    with psycopg.connect(live.info.dsn, autocommit=True) as other, other.transaction():
        other.execute("LOCK TABLE t")  # for ever, as far as the difference can tell
        threading.Timer(0.5, progress.cancel).start()
        with pytest.raises(CancelledError):
            difference(live, past, pairing("public.t", "id v"), progress)

    assert difference(live, past, pairing("public.t", "id v"), Counter()).is_equal


def test_names_are_read_as_postgresql_writes_them() -> None:
    assert table_name("public.customers") == ("public", "customers")
    assert table_name("customers") == ("public", "customers")
    assert table_name('"a.b"."c""d"') == ("a.b", 'c"d')
