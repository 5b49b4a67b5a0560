"""Of a backup only what a recovery needs is read, and that is held against its proof."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.backups.errors import DisprovenError
from ops.backups.manifest import Manifest
from ops.progress import CancelledError, Counter
from ops.restores.errors import RefusedError
from ops.restores.past.pasts import past
from ops.restores.requests import RecoverRequest
from ops.rls import router
from tests.ops.backups.conftest import SIGNING_KEY, Backups
from tests.ops.restores.between import Business, make_books

PARTS = """
    CREATE TABLE part (id int, v text, PRIMARY KEY (id)) PARTITION BY HASH (id);
    CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO part SELECT n, 'v' || n FROM generate_series(1, 50) n;
    CREATE TABLE "Odd name" (id int, v text); INSERT INTO "Odd name" VALUES (1, E'a\\tb');
    CREATE USER MAPPING FOR srvc_member SERVER far OPTIONS (user 'u', password 'p');
"""


def books(name: str) -> Business:
    """Make books as a request does, by the web process's login."""
    token = router._migrating.set(False)
    try:
        return make_books(name)
    finally:
        router._migrating.reset(token)


def attempt(
    request: RecoverRequest, wanted: list[str] | None = None, progress: Counter | None = None
) -> None:
    with past(request, wanted, progress or Counter()):
        pytest.fail("it was lent")


def rows(connection: psycopg.Connection[Any], query: str) -> Any:
    return connection.execute(query.encode()).fetchall()


def count(connection: psycopg.Connection[Any], table: str) -> int:
    ((found,),) = rows(connection, f"SELECT count(*) FROM public.{table}")
    return int(found)


def test_some_tables_and_some_rows_of_a_backup_are_read_and_proven(backups: Backups) -> None:
    one, other = books("One"), books("Other")
    backups.execute(
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere"
    )
    backups.execute(PARTS)
    backups.execute(
        'ALTER TABLE part OWNER TO srvc_owner; ALTER TABLE "Odd name" OWNER TO srvc_owner'
    )
    for partition in ("part_0", "part_1"):
        backups.execute(f"ALTER TABLE {partition} OWNER TO srvc_owner")
    taken = backups.take()
    backups.execute(
        f"SET session_replication_role = replica;DELETE FROM customers WHERE id = {one.customer.pk}"
    )

    # Some tables, whole.
    request = RecoverRequest(tables=("part", "customers"))
    with (
        past(request, ["public.part", "public.customers", 'public."Odd name"'], Counter()) as found,
        closing(found.connect()) as then,
    ):
        assert found.origin == f"the backup {taken.name}"
        assert found.holds == taken.taken_at
        assert count(then, "part") == 50
        assert rows(then, 'SELECT v FROM public."Odd name"') == [("a\tb",)]
        assert count(then, "customers") == 2
        assert (count(then, "invoices"), count(then, "customers_history")) == (0, 0)

    # The rows of one account, which the history still knows.
    with (
        past(
            RecoverRequest(subject="customer", keys=(str(one.customer.pk),)), None, Counter()
        ) as found,
        closing(found.connect()) as then,
    ):
        assert rows(then, "SELECT id, user_id FROM public.customers") == [
            (one.customer.pk, one.owner.account_id)
        ]
        for table in ("invoices", "payments", "customers_history", "invoice_lines_history"):
            assert rows(then, f"SELECT DISTINCT user_id FROM public.{table}") == [
                (one.owner.account_id,)
            ]
        assert rows(then, "SELECT id FROM public.users") == [(one.owner.pk,)]
        assert count(then, "part") == 50
        assert count(then, "django_migrations") > 0

    # A manifest that proves other rows than the dump has.
    manifest = Manifest.of_row(taken.manifest)
    assert manifest.proof is not None
    for each in manifest.proof["tables"]:
        each["rows"] += each["name"] == "customers"
        each["content"] = each["content"][::-1] if each["name"] == "part_0" else each["content"]
    (backups.folder / manifest.object_name).write_bytes(
        replace(manifest, proof=manifest.proof).signed(SIGNING_KEY)
    )
    with pytest.raises(DisprovenError) as told:
        attempt(request, ["public.part", "public.customers"], Counter())
    assert "public.customers has 2 row(s) instead of 3." in str(told.value)
    assert "public.part_0 has as many rows, but other content." in str(told.value)
    with pytest.raises(DisprovenError, match=r"public\.customers has 2 row\(s\) instead of 3"):
        attempt(
            RecoverRequest(subject="customer", keys=(str(other.customer.pk),)),
            ["public.customers"],
            Counter(),
        )
    assert list((backups.var / "scratch").iterdir()) == []


def test_rows_without_definitions_come_into_those_of_another_backup(backups: Backups) -> None:
    made = books("One")
    backups.take(kind="schema")
    data = backups.take(kind="data")

    with (
        past(RecoverRequest(backup=data.name), ["public.customers"], Counter()) as found,
        closing(found.connect()) as then,
    ):
        assert rows(then, "SELECT id FROM public.customers") == [(made.customer.pk,)]


def test_what_has_no_rows_is_refused_and_a_cancelled_one_leaves_nothing(backups: Backups) -> None:
    with pytest.raises(RefusedError, match="no good full backup of development in the catalogue"):
        attempt(RecoverRequest(), None, Counter())
    schema = backups.take(kind="schema")
    with pytest.raises(RefusedError, match="is a schema backup, and no rows can be read"):
        attempt(RecoverRequest(backup=schema.name), None, Counter())
    backups.take()
    progress = Counter()
    progress.cancel()
    with pytest.raises(CancelledError), past(RecoverRequest(), None, progress):
        pytest.fail("it was lent")
    assert list((backups.var / "scratch").iterdir()) == []


SEMICOLONS = '\ufeffid;email;notes\n41;a@b.ch;"two\nlines; ""quoted"""\n'.encode()
WESTERN = "id,name\r\n41,Zürich\r\n".encode("cp1252")
TABS = "model\tid\nüç\t41\n".encode("utf-16")
# Refused before a server is started, and by the server that reads the rows.
BAD_HEADERS = {
    b"": "it is empty; its first line has to name the columns",
    b"id,emial\n": r"public\.customers has no column emial that is written \(did you mean email",
    b"id,id\n": "the column id is in it twice",
    b"email\n": "it has no column id, by which rows are told apart",
}
BAD_ROWS = {
    b"id,email\nx,a\n": r'invalid input syntax for type bigint: "x" \(customers, line 2, column id',
    b"id,email\n1,\n": 'null value in column "email".*an empty field without quotes is a null',
}


def test_csv_files_become_tables_of_the_past(backups: Backups, tmp_path: Path) -> None:
    files = {"customers": SEMICOLONS, "auth_group": WESTERN, "django_content_type": TABS}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    given = tuple(f"{name}={tmp_path / name}" for name in files)

    with (
        past(RecoverRequest(csv=given), None, Counter()) as found,
        closing(found.connect()) as then,
    ):
        assert found.origin == "3 files"
        assert rows(then, "SELECT * FROM public.customers") == [
            (41, "a@b.ch", 'two\nlines; "quoted"')
        ]
        assert rows(then, "SELECT * FROM public.auth_group") == [(41, "Zürich")]
        assert rows(then, "SELECT * FROM public.django_content_type") == [(41, "üç")]


def test_what_is_no_such_csv_is_refused_with_the_place(backups: Backups, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    for content, why in (BAD_HEADERS | BAD_ROWS).items():
        file.write_bytes(content)
        with pytest.raises(RefusedError, match=f"(?s){why}"):
            attempt(RecoverRequest(csv=(f"customers={file}",)), None, Counter())
    for given, why in (
        ("customers", "does not name a table and its file"),
        ("customers=/nowhere.csv", r"There is no file /nowhere\.csv"),
        (f"custmers={file}", r"There is no table custmers.*Did you mean public\.customers"),
    ):
        with pytest.raises(RefusedError, match=why):
            attempt(RecoverRequest(csv=(given,)), None, Counter())
    assert not list(backups.var.glob("scratch/*"))
