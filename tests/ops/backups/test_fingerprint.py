"""A fingerprint says how a database is defined, in the same words on every server."""

from __future__ import annotations

import psycopg
import pytest

from ops.backups.comparison import compare
from ops.backups.fingerprint import (
    Fingerprint,
    database_properties,
    definitions,
    extensions,
    fingerprint,
    roles,
)
from ops.backups.fingerprint.canonical import canonical, unqualified
from ops.backups.proof import Proof
from tests.harness import database
from tests.ops.backups import copies

pytestmark = pytest.mark.usefixtures("django_db_setup")


def test_a_restored_copy_is_defined_in_the_same_words() -> None:
    with copies.rolled_back(copies.everything()) as original:
        expected = definitions(original)
    with copies.rolled_back(copies.restored()) as copy:
        assert definitions(copy) == expected


def test_every_kind_of_object_is_in_it_by_name() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        found = fingerprint(connection).objects
    for name in (
        "aggregate public.product(numeric)",
        "cast (public.address as text)",
        "collation public.german",
        'column public.customer."odd ""column"" \nü"',
        "column public.customer.late_column",
        "comment on policy own_rows on public.customer",
        "comments on public.customer",
        "constraint customer_account_during_excl on public.customer",
        "default privileges of postgres in schema public for tables",
        "domain public.email",
        "event trigger watch",
        "foreign table public.abroad",
        "foreign-data wrapper nowhere",
        "function public.many(a integer, b text, VARIADIC c integer[], OUT d integer, OUT e text)",
        "grants on columns of public.customer",
        "grants on function pg_catalog.pg_ls_waldir()",
        "grants on function public.half(numeric)",
        "grants on schema public",
        "grants on sequence public.lonely",
        "grants on table public.customer",
        "grants on type public.mood",
        "index public.customer_lower",
        "materialized view public.totals",
        "operator public.===(integer,integer)",
        "policy own_rows on public.customer",
        "procedure public.tidy(INOUT n integer)",
        "publication news",
        "rule quiet on public.job",
        'schema "odd ""schema"""',
        "sequence public.lonely",
        "server far",
        "statistics public.customer_stats",
        'table "odd ""schema"""."table\nwith . ünïcode \'n quotes"',
        "table public.columnless",
        "table public.event",
        "text search configuration public.plain_search",
        "trigger stamps on public.customer",
        "type public.address",
        "type public.mood",
        "type public.span",
        "user mapping for srvc_member on far",
        "view public.one_table",
    ):
        assert name in found
    assert not [name for name in found if "dropped" in name or "pg_toast" in name]
    assert not [name for name in found if "gbt_" in name or "trgm_in" in name]


def test_the_session_does_not_matter() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute("SET LOCAL search_path = public; SET LOCAL quote_all_identifiers = on")
        connection.execute("SET LOCAL datestyle = 'SQL, DMY'; SET LOCAL timezone = 'Asia/Tokyo'")
        assert fingerprint(connection) == usual
        assert connection.execute("SHOW search_path").fetchone() == ("public",)


def test_it_survives_json() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        found = fingerprint(connection)
    assert Fingerprint.from_json(found.as_json()) == found
    assert found.as_json()["digest"] == found.digest
    assert len(found.digest) == 16
    assert {len(digest) for digest in found.objects.values()} == {16}


def test_a_login_without_rights_on_the_rows_can_tell_it() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute(f"SET LOCAL ROLE {copies.READER}")
        assert fingerprint(connection) == usual


def test_rights_written_out_are_the_rights_an_object_begins_with() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute("REVOKE ALL ON forgetful FROM postgres")
        assert "grants on table public.forgetful" in fingerprint(connection).objects
        connection.execute("GRANT ALL ON forgetful TO postgres")
        assert fingerprint(connection) == usual


def test_marks_of_the_servers_own_are_no_definition() -> None:
    """Debian's 15.20 stamps columns by itself; other servers are stamped here as it does."""
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute(
            "UPDATE pg_attribute SET attoptions = '{pg_attver=1}' || coalesce(attoptions, '{}')"
            " WHERE attrelid = 'customer'::regclass AND attnum > 0 AND attname <> 'id'"
        )
        connection.execute(
            "UPDATE pg_class SET reloptions = coalesce(reloptions, '{}') || '{pg_relver=1}'::text[]"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')"
        )
        assert fingerprint(connection) == usual
        connection.execute("ALTER TABLE customer ALTER COLUMN id SET (n_distinct = -0.5)")
        changed = fingerprint(connection).objects
        assert [name for name in changed if changed[name] != usual.objects[name]] == [
            "column public.customer.id"
        ]


def test_a_table_made_anew_is_defined_as_before() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        made = "CREATE TABLE again (a int PRIMARY KEY, b text) WITH (fillfactor = 70)"
        connection.execute(made)
        connection.execute("ALTER TABLE again ALTER COLUMN a SET (n_distinct = 9)")
        usual = fingerprint(connection)
        connection.execute("DROP TABLE again")
        connection.execute(made)
        assert fingerprint(connection) != usual
        connection.execute("ALTER TABLE again ALTER COLUMN a SET (n_distinct = 9)")
        assert fingerprint(connection) == usual


def test_an_invalid_index_does_not_count() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute("CREATE INDEX broken ON job (account); COMMENT ON INDEX broken IS 'x'")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass"
        )
        assert fingerprint(connection) == usual


def test_extensions_come_with_their_versions() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        assert list(extensions(connection)) == ["btree_gist", "pg_trgm", "plpgsql"]


def test_an_extension_in_another_schema_is_another_one() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        usual = fingerprint(connection)
        connection.execute("CREATE SCHEMA apart; ALTER EXTENSION pg_trgm SET SCHEMA apart")
        moved = fingerprint(connection)
        connection.execute(
            "UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'btree_gist'"
        )
        older = fingerprint(connection)
    assert usual.objects["extension pg_trgm"] != moved.objects["extension pg_trgm"]
    # A dump does not carry versions: those are compared with the manifest's own list.
    assert older == moved


def test_what_an_older_release_told_otherwise_is_compared_by_name() -> None:
    now = Fingerprint(
        {"table a.b": "1", "domain a.c": "2", "type a.d": "3", "extension e": "4", "table a.v": "9"}
    )
    then = Fingerprint.from_json(
        {"objects": {"table a.b": "1", "domain a.c": "x", "table a.v": "8", "subscription s": "5"}}
    )
    differing = [
        (each.what, each.where)
        for each in compare(Proof([], [], then), Proof([], [], now), sequences=False)
    ]
    assert differing == [("schema", "table a.v"), ("extra object", "type a.d")]


def test_roles_are_told_with_what_they_may() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        found = roles(connection)
        connection.execute("CREATE ROLE \"a new; 'one'\" LOGIN CONNECTION LIMIT 3")
        connection.execute("ALTER ROLE \"a new; 'one'\" SET app.api_key = 'hush'")
        connection.execute("ALTER ROLE \"a new; 'one'\" SET work_mem = '8MB'")
        connection.execute("GRANT srvc_public TO \"a new; 'one'\" WITH ADMIN OPTION")
        connection.execute("GRANT SELECT ON job TO \"a new; 'one'\"")
        more = roles(connection)
    assert set(found) == {"postgres", "srvc_admin", "srvc_member", "srvc_owner", "srvc_public"}
    assert found["srvc_member"] == "INHERIT NOLOGIN"
    assert found["srvc_owner"].startswith("INHERIT CREATEDB LOGIN BYPASSRLS; member of ")
    assert more["a new; 'one'"] == (
        "INHERIT LOGIN CONNECTION LIMIT 3; member of srvc_public WITH ADMIN OPTION; "
        "set app.api_key (withheld), work_mem=8MB"
    )


def test_a_databases_own_properties_are_told_but_no_secret() -> None:
    name = copies.everything()
    quoted = '"' + name.replace('"', '""') + '"'
    with copies.rolled_back(name) as connection:
        connection.execute(f"GRANT CONNECT ON DATABASE {quoted} TO {copies.READER}".encode())
        connection.execute(f"ALTER DATABASE {quoted} SET app.label = 'a=b'".encode())
        connection.execute(f"ALTER DATABASE {quoted} SET app.jwt_secret = 'hush'".encode())
        connection.execute(
            f"ALTER ROLE {copies.READER} IN DATABASE {quoted} SET work_mem = '8MB'".encode()
        )
        connection.execute(f"COMMENT ON DATABASE {quoted} IS 'ours'".encode())
        found = database_properties(connection)
    assert found["name"] == name
    assert found["owner"] == "srvc_owner"
    assert f"{copies.READER} CONNECT" in found["grants"]
    assert found["settings"] == ["app.label=a=b", f"{copies.READER}: work_mem=8MB"]
    assert found["withheld"] == ["app.jwt_secret"]
    assert found["encoding"] == "UTF8"
    assert found["connection_limit"] == -1
    assert found["comment"] == "ours"
    assert "hush" not in str(found)


def test_a_broken_connection_is_told_as_it_is() -> None:
    with database.connect() as connection:
        connection.close()
        with pytest.raises(psycopg.OperationalError):
            fingerprint(connection)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "(s = ANY ((ARRAY['a'::character varying, 'b,]'::character varying])::text[]))",
            "(s = ANY (ARRAY[('a'::character varying)::text, ('b,]'::character varying)::text]))",
        ),
        (
            "(ARRAY[f(a, b), (ARRAY[c])::x.y[]])::numeric(8,2)[]",
            "ARRAY[(f(a, b))::numeric(8,2), (ARRAY[(c)::x.y])::numeric(8,2)]",
        ),
        ("(ARRAY[1, 2])", "(ARRAY[1, 2])"),
        ("'(ARRAY[1])::int[]'", "'(ARRAY[1])::int[]'"),
        ("(ARRAY[", "(ARRAY["),
    ],
)
def test_a_cast_array_is_an_array_of_casts(written: str, meant: str) -> None:
    assert canonical(written) == meant
    assert canonical(meant) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("WHEN ((((a) OR (b)) OR (c)))", "WHEN (((a) OR (b) OR (c)))"),
        ("((a > 1) AND ((b > 1) AND (c < 2)))", "((a > 1) AND (b > 1) AND (c < 2))"),
        ("(a OR (b AND c))", "(a OR (b AND c))"),
        ("(a OR NOT (b OR c) OR f(d OR e))", "(a OR NOT (b OR c) OR f(d OR e))"),
        ("(a AND (b BETWEEN 1 AND 2))", "(a AND (b BETWEEN 1 AND 2))"),
        ("'(a OR (b OR c))' OR (d", "'(a OR (b OR c))' OR (d"),
    ],
)
def test_alternatives_within_alternatives_are_alternatives(written: str, meant: str) -> None:
    assert canonical(written) == meant
    assert canonical(meant) == meant


def test_a_list_of_values_is_the_same_with_a_blank_before_it() -> None:
    assert canonical("FROM ( VALUES (1)) v") == "FROM (VALUES (1)) v"
    assert canonical("SELECT '( VALUES (1))'") == "SELECT '( VALUES (1))'"
    assert canonical("( VALUES (' ( ')) (  ") == "(VALUES (' ( ')) (  "


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            " SELECT job.a,\n    f(job.b) AS b\n   FROM s.job\n  WHERE (job.c = 'job.d'::text);",
            " SELECT a,\n    f(b) AS b\n   FROM s.job\n  WHERE (c = 'job.d'::text);",
        ),
        (' SELECT "J".a FROM x.job "J";', ' SELECT a FROM x.job "J";'),
        (" SELECT EXTRACT(year FROM j.a) FROM job j;", " SELECT EXTRACT(year FROM a) FROM job j;"),
        (" SELECT a.x, b.x FROM (a JOIN b ON (a.y = b.y));", None),
        (
            " SELECT f.x FROM s.f(1) f(x) WHERE (f.x > 1);",
            " SELECT x FROM s.f(1) f(x) WHERE (x > 1);",
        ),
        (
            " SELECT o.p FROM s.f() WITH ORDINALITY o(p, r);",
            " SELECT p FROM s.f() WITH ORDINALITY o(p, r);",
        ),
        (" SELECT q.a FROM ( SELECT t.a FROM t) q;", " SELECT a FROM ( SELECT t.a FROM t) q;"),
        (
            " WITH w AS ( SELECT 1 AS n) SELECT w.n FROM w;",
            " WITH w AS ( SELECT 1 AS n) SELECT n FROM w;",
        ),
        (
            " SELECT t.a FROM t TABLESAMPLE system (10);",
            " SELECT a FROM t TABLESAMPLE system (10);",
        ),
        (" SELECT a.x FROM a, b;", None),
        (" SELECT a.x FROM a UNION SELECT b.x FROM b;", None),
        (" SELECT 1;", None),
    ],
)
def test_a_view_of_one_table_does_not_name_it_before_columns(
    written: str, meant: str | None
) -> None:
    assert unqualified(written) == (meant or written)
