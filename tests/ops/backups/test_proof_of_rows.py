"""A table's content is the one of its rows: values that changed places between rows are found."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from ops.backups.proving import table_proof
from tests.ops.backups import copies

Connection = psycopg.Connection[tuple[Any, ...]]

pytestmark = pytest.mark.usefixtures("django_db_setup")

_ROWS = "(VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')) AS v(id, amount, name)"


@pytest.mark.parametrize("kind", ["int", "bigint", "numeric", "text", "uuid"])
def test_two_rows_that_swapped_a_value_are_not_the_same(kind: str) -> None:
    convert = "lpad(amount::text, 32, '0')::uuid" if kind == "uuid" else f"amount::{kind}"
    with copies.rolled_back(copies.everything()) as connection:
        connection.execute(
            f"CREATE TABLE swapped AS SELECT id, {convert} AS amount, name FROM {_ROWS}".encode()
        )
        before = table_proof(connection, "public", "swapped")
        connection.execute(
            "UPDATE swapped s SET amount = o.amount FROM swapped o"
            " WHERE (s.id, o.id) IN ((1, 2), (2, 1))"
        )
        after = table_proof(connection, "public", "swapped")
    assert after.rows == before.rows == 3
    assert after.content != before.content


def test_two_columns_that_swapped_their_values_are_not_the_same() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        connection.execute("CREATE TABLE swapped AS SELECT 1 AS a, 2 AS b")
        before = table_proof(connection, "public", "swapped")
        connection.execute("UPDATE swapped SET a = b, b = a")
        assert table_proof(connection, "public", "swapped") != before
