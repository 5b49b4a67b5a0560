"""Of a large table only what differs is carried to the live server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.partial.drift import Renames
from ops.restores.partial.narrowing import FEW
from ops.restores.partial.plan import Prepared, prepare
from ops.restores.partial.stage import prepare_session
from ops.restores.requests import RecoverRequest
from ops.rls.router import as_owner_by_default
from tests.harness import database
from tests.ops.restores.between import Between, cloned

ROWS = FEW * 3
TABLES = f"""
    SET ROLE srvc_owner;
    CREATE TABLE kinds (id int PRIMARY KEY, name text);
    CREATE TABLE prices (id int PRIMARY KEY, kind_id int REFERENCES kinds, amount numeric,
        note text);
    CREATE TABLE marks (id int PRIMARY KEY, price_id int REFERENCES prices, text text);
    INSERT INTO kinds SELECT n, 'kind ' || n FROM generate_series(1, 10) n;
    INSERT INTO prices SELECT n, 1 + n % 10, n, repeat('x', n % 50)
        FROM generate_series(1, {ROWS}) n;
    INSERT INTO marks SELECT n, n, 'mark' FROM generate_series(1, {ROWS}) n;
"""
# Amounts that are equal, and not the same; a row that is gone with what hung on it; a new one.
ACCIDENT = """
    UPDATE prices SET amount = 2000.00 WHERE id = 2000;
    DELETE FROM marks WHERE price_id IN (10, 20);
    DELETE FROM prices WHERE kind_id = 1 AND id = 10;
    INSERT INTO prices VALUES (0, 3, 0, 'new');
"""


@pytest.fixture
def between(fresh_database: str) -> Iterator[Between]:
    """A large table, with an accident since."""
    with database.connect(fresh_database) as connection:
        connection.execute(TABLES.encode())
    with cloned(fresh_database) as found, as_owner_by_default():
        found.execute(ACCIDENT)
        yield found


def _staged(between: Between, request: RecoverRequest) -> dict[str, int]:
    """Return how many rows of each table went over to the live server."""
    with closing(Endpoint.of("owner").connect()) as live, between.connect(between.past) as past:
        for session in (live, past):
            prepare_session(session)
        prepared: Prepared = prepare(request, live, past, Renames(), Counter())
        counts = {}
        for each in prepared.stage.tables:
            row = live.execute(f"SELECT count(*) FROM pg_temp.wanted_{each.number}").fetchone()
            assert row is not None
            counts[each.table.title.removeprefix("public.")] = row[0]
        return counts


def test_only_rows_that_differ_are_carried_over_and_all_of_them_come_back(
    between: Between,
) -> None:
    whole = RecoverRequest(moment="a clone", tables=("prices",), mode="all")
    assert _staged(between, whole) == {"prices": 2, "marks": 2}
    many = RecoverRequest(moment="a clone", tables=("prices",), where="id > 5", mode="all")
    assert _staged(between, many) == {"prices": 2, "marks": 2}

    recovery = between.recover(tables=("prices",), mode="all")

    planned = {
        each["table"]: (each["missing"], each["changed"], each["extra"], each["planned"])
        for each in recovery.plan["tables"]
    }
    assert planned == {
        "public.prices": (1, 1, 1, {"inserted": 1, "updated": 1, "deleted": 0}),
        "public.marks": (2, 0, 0, {"inserted": 2, "updated": 0, "deleted": 0}),
    }
    assert between.rows("SELECT amount::text FROM prices WHERE id IN (10, 2000) ORDER BY id") == [
        ("10",),
        ("2000",),
    ]
    assert between.rows(f"SELECT count(*) = {ROWS} FROM marks") == [(True,)]

    exact = between.recover(tables=("prices",), exact=True)
    assert [each["planned"] for each in exact.plan["tables"]] == [
        {"inserted": 0, "updated": 0, "deleted": 1}
    ]
    assert between.rows(f"SELECT count(*) = {ROWS} FROM prices") == [(True,)]


def test_what_a_row_that_comes_back_stands_on_comes_too(between: Between) -> None:
    between.execute("ALTER TABLE prices DROP CONSTRAINT prices_kind_id_fkey")
    between.execute("DELETE FROM kinds WHERE id IN (1, 2)")
    between.execute("ALTER TABLE prices ADD FOREIGN KEY (kind_id) REFERENCES kinds NOT VALID")
    recovery = between.recover(tables=("prices",), related=False)
    assert recovery.state == "applied"
    assert between.rows("SELECT id FROM kinds WHERE id < 3") == [(1,)]
