"""A table's proof depends on its rows, and on nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ops.backups.errors import BackupError
from ops.backups.proof import Proof, SequenceProof, TableProof, short_content
from ops.backups.proving import SMALL, TOGETHER, sequence_proofs, table_proof
from ops.backups.proving import table_proofs as proofs_of
from ops.backups.selection import LARGE_OBJECTS, Table, all_tables
from ops.progress import CancelledError
from tests.harness import database
from tests.ops.backups import copies

Connection = psycopg.Connection[tuple[Any, ...]]

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def connection() -> Iterator[Connection]:
    with copies.rolled_back(copies.everything()) as found:
        yield found


def test_a_proof_has_rows_and_content(connection: Connection) -> None:
    connection.execute("CREATE TABLE known (a int, b text)")
    assert table_proof(connection, "public", "known") == TableProof(
        "public", "known", 0, "00000000000000000000000000000000"
    )
    connection.execute("INSERT INTO known VALUES (1, 'x'), (2, NULL)")
    # The same on every version and machine: what is written in a manifest must stay true.
    assert table_proof(connection, "public", "known") == TableProof(
        "public", "known", 2, "00000000000000004be56e87cff31334"
    )


# Each number was read on PostgreSQL 15 and 18.
@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("true", "ffffffffffffffffcd0f69c48e731746"),
        ("'7'::smallint", "ffffffffffffffffcdf9e4dfa2c7dec8"),
        ("'-7'::integer", "000000000000000031c516f68c8db17d"),
        ("'-7000000000'::bigint", "ffffffffffffffff88544bc788eb7d77"),
        ("'7'::oid", "ffffffffffffffffd25b4c1ac5a8cbff"),
        ("'0a1b2c3d-0000-4000-8000-00000000000f'::uuid", "00000000000000000e0a82fee763ccd9"),
        ("'\\x00ff'::bytea", "ffffffffffffffff800a99bbe8c9ba5a"),
        ("'2026-02-03'::date", "000000000000000025f43b8a29915caa"),
        ("'2026-02-03 04:05:06.789'::timestamp", "ffffffffffffffffe7623d9d177e1d48"),
        ("'2026-02-03 04:05:06.789+01'::timestamptz", "fffffffffffffffff9198acaaae5d7e9"),
        ("'grün'::text", "ffffffffffffffffd67290284280e9da"),
        ("'grün'::varchar(9)", "ffffffffffffffffd67290284280e9da"),
        ("1.50::numeric", "00000000000000003b02d29b767ea2f7"),
        ("'{1,NULL}'::int[]", "ffffffffffffffff829dcf48129f6fdf"),
    ],
)
def test_what_a_value_hashes_to_is_the_same_on_every_version(
    connection: Connection, value: str, content: str
) -> None:
    connection.execute(f"CREATE TABLE known AS SELECT {value} AS v".encode())
    assert table_proof(connection, "public", "known").content == content


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0::numeric", "1.00::numeric"),
        ("'-0'::float8", "'0'::float8"),
        ("'24 hours'::interval", "'1 day'::interval"),
        ("'a'::text COLLATE unaccented", "'A'::text COLLATE unaccented"),
        ("''::text", "NULL::text"),
        ("'{1.0}'::numeric[]", "'{1.00}'::numeric[]"),
        ("'a '::bpchar", "'a'::bpchar"),
        ("1::bigint", "-1::bigint"),
        ("1::bigint", "4294967296::bigint"),
    ],
)
def test_equal_is_not_the_same(connection: Connection, one: str, other: str) -> None:
    if "unaccented" in one:
        try:
            with connection.transaction():
                connection.execute(
                    "CREATE COLLATION unaccented"
                    " (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
                )
        except psycopg.errors.FeatureNotSupported:
            return  # this server was built without ICU, so it has no such columns
    connection.execute(f"CREATE TABLE known AS SELECT {one} AS v".encode())
    before = table_proof(connection, "public", "known").content
    connection.execute(f"UPDATE known SET v = {other}".encode())
    assert table_proof(connection, "public", "known").content != before


def test_neither_order_nor_dropped_columns_nor_the_session_matter(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE one (a timestamptz, gone int, b float8, c interval, d bytea, e money);"
        "INSERT INTO one VALUES ('2026-02-03 04:05+06', 7, 0.1, '1 day 2 hours', '\\x00ff', 12.5),"
        " (NULL, 8, 'NaN', NULL, NULL, NULL); ALTER TABLE one DROP gone;"
        "CREATE TABLE two AS SELECT e, d, c, b, a FROM one ORDER BY b DESC"
    )
    one = table_proof(connection, "public", "one")
    connection.execute(
        "SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL datestyle = 'German';"
        "SET LOCAL intervalstyle = 'iso_8601'; SET LOCAL extra_float_digits = -5;"
        "SET LOCAL bytea_output = 'escape'"
    )
    two = table_proof(connection, "public", "two")
    assert (one.rows, one.content) == (two.rows, two.content) == (2, one.content)
    assert connection.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)


def test_a_table_does_not_count_the_rows_of_its_children(connection: Connection) -> None:
    assert table_proof(connection, "public", "parent").rows == 1
    assert table_proof(connection, "public", "child").rows == 1
    assert table_proof(connection, "public", "event_2025").rows == 21


def test_a_value_that_moved_to_another_column_is_noticed(connection: Connection) -> None:
    connection.execute("CREATE TABLE pair (a bigint, b bigint, c text, d text)")
    connection.execute("INSERT INTO pair VALUES (1, 2, 'x', 'y'), (7, 7, NULL, NULL)")
    before = table_proof(connection, "public", "pair").content
    for swap in ("a = b, b = a", "c = d, d = c"):
        with connection.transaction(force_rollback=True):
            connection.execute(f"UPDATE pair SET {swap}".encode())
            assert table_proof(connection, "public", "pair").content != before


def test_a_table_may_have_as_many_columns_as_there_can_be(connection: Connection) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1600))
    connection.execute(f"CREATE TABLE wide ({columns})".encode())
    connection.execute("INSERT INTO wide (c0, c1599) VALUES (1, 2)")
    assert table_proof(connection, "public", "wide").rows == 1


def test_a_column_may_have_any_name(connection: Connection) -> None:
    connection.execute(
        """CREATE TABLE names (r int, "a.b" int, "%s" int, "q""' \n" int, count int);"""
        "INSERT INTO names VALUES (1, 2, 3, 4, 5)"
    )
    before = table_proof(connection, "public", "names")
    connection.execute("UPDATE names SET count = 6")
    assert before.content != table_proof(connection, "public", "names").content


def test_a_virtual_column_is_not_computed(connection: Connection) -> None:
    expression = "int GENERATED ALWAYS AS (1 / a)"
    if connection.info.server_version < 180000:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute(f"CREATE TABLE computed (a int, b {expression} VIRTUAL)")
        return
    connection.execute(f"CREATE TABLE computed (a int, b {expression} VIRTUAL)")
    connection.execute("INSERT INTO computed VALUES (0)")
    assert table_proof(connection, "public", "computed").rows == 1


def test_of_an_extensions_table_only_what_a_dump_takes_is_proven(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE configured (a int); INSERT INTO configured VALUES (1), (2), (3);"
        "ALTER EXTENSION pg_trgm ADD TABLE configured;"
        "UPDATE pg_extension SET extconfig = ARRAY['configured'::regclass],"
        " extcondition = ARRAY['WHERE a > 1'] WHERE extname = 'pg_trgm'"
    )
    assert table_proof(connection, "public", "configured").rows == 2


def test_a_login_that_sees_a_part_gets_no_proof() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {copies.READER}")
        connection.execute(f"SET LOCAL ROLE {copies.READER}")
        with pytest.raises(BackupError) as refused:
            table_proof(connection, "public", "customer")
    assert str(refused.value) == (
        "postgres may not read all of public.customer: query would be affected by row-level "
        'security policy for table "customer". The proof of a part would pass for the whole, so '
        "there is none. Use a login that owns the tables and has BYPASSRLS."
    )


def test_a_table_that_is_not_there_is_an_error(connection: Connection) -> None:
    with pytest.raises(BackupError, match=r"There is no table public\.nothing \(any more\)"):
        table_proof(connection, "public", "nothing")


def _tear(connection: Connection, *, how: str) -> None:
    """Make a table whose rows can't be read."""
    connection.execute(
        "CREATE FUNCTION broken(text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE data_corrupted USING MESSAGE = 'invalid page in block 7'; END $$;"
        "CREATE TABLE torn (a int); INSERT INTO torn VALUES (1);"
        "ALTER EXTENSION pg_trgm ADD TABLE torn;"
    )
    connection.execute(
        "UPDATE pg_extension SET extconfig = ARRAY['torn'::regclass], extcondition = ARRAY[%s]"
        " WHERE extname = 'pg_trgm'",
        [f"WHERE {how}"],
    )


_BROKEN = "public.broken(a::text) = ''"


def test_an_unreadable_table_is_an_error_and_the_connection_lives_on(
    connection: Connection,
) -> None:
    _tear(connection, how=_BROKEN)
    with pytest.raises(BackupError) as refused:
        table_proof(connection, "public", "torn")
    assert str(refused.value).startswith(
        "public.torn cannot be read to its end: invalid page in block 7"
    )
    assert table_proof(connection, "public", "forgetful").rows == 2


def test_together_tables_prove_what_each_proves_alone(connection: Connection) -> None:
    tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
    # More than are asked for in one query, one larger than those, and large objects.
    for number in range(TOGETHER):
        connection.execute(f"CREATE TABLE more_{number} AS SELECT {number} AS a")
        tables.insert(number * 2, Table("public", f"more_{number}", "table", 0))
    connection.execute("CREATE TABLE large AS SELECT generate_series(1, 60000) AS a")
    assert connection.execute("SELECT pg_table_size('large')").fetchone() > (SMALL,)
    tables[3:3] = [Table("public", "large", "table", 0), LARGE_OBJECTS]
    told: list[TableProof] = []

    found = proofs_of(connection, tables, on_table=told.append)

    assert found == told == [table_proof(connection, each.schema, each.name) for each in tables]


def test_of_tables_read_together_the_unreadable_one_is_named(connection: Connection) -> None:
    _tear(connection, how=_BROKEN)
    tables = [Table("public", name, "table", 0) for name in ("forgetful", "torn")]
    told: list[TableProof] = []
    with pytest.raises(BackupError, match=r"^public\.torn cannot be read to its end: invalid page"):
        proofs_of(connection, tables, on_table=told.append)
    assert [each.name for each in told] == ["forgetful"]
    with pytest.raises(BackupError, match=r"There is no table public\.nothing \(any more\)"):
        proofs_of(connection, [tables[0], Table("public", "nothing", "table", 0)])


@pytest.mark.parametrize("together", [["forgetful", "torn"], ["torn"]])
def test_it_stops_in_the_middle_of_tables_when_asked(together: list[str]) -> None:
    tables = [Table("public", name, "table", 0) for name in together]
    asked: list[bool] = []
    told: list[TableProof] = []
    with copies.rolled_back(copies.everything()) as connection:
        _tear(connection, how="pg_sleep(3600) IS NOT NULL")

        def cancelled() -> bool:
            asked.append(threading.current_thread() is threading.main_thread())
            return len(asked) > 1

        with pytest.raises(CancelledError):
            proofs_of(connection, tables, on_table=told.append, cancelled=cancelled)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert told == []
    assert asked == [True, True]


def test_a_server_that_goes_away_is_an_error() -> None:
    name = copies.everything()
    tables = [Table("public", "forgetful", "table", 0)]
    with database.connect(name) as connection, database.connect() as other:
        pid = connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        with pytest.raises(BackupError, match="The server went away"):
            proofs_of(connection, tables)


def test_sequences_tell_where_they_stand(connection: Connection) -> None:
    found = {each.name: each for each in sequence_proofs(connection)}
    assert found["lonely"] == SequenceProof("public", "lonely", -2, True, -3)
    assert found["untouched"] == SequenceProof("public", "untouched", 1, False, 1)
    assert found["customer_id_seq"].increment == 5
    assert len(found) == 5


def test_a_proof_survives_json_and_does_not_depend_on_order(connection: Connection) -> None:
    proof = copies.proof_of(connection)
    shuffled = Proof(proof.tables[::-1], proof.sequences[::-1], proof.fingerprint)
    assert shuffled.as_json() == proof.as_json()
    again = Proof.from_json(proof.as_json())
    assert again.as_json() == proof.as_json()
    assert again.fingerprint == proof.fingerprint


def test_the_short_content_tells_tables_apart(connection: Connection) -> None:
    tables = [each for each in copies.proof_of(connection).tables if each.rows]
    assert len(tables) > 5
    assert len({short_content(each.content) for each in tables}) == len(tables)
    assert not {short_content(each.content) for each in tables} & {"0" * 12, "f" * 12}
