"""By which columns rows are paired, as PostgreSQL has them."""

from __future__ import annotations

import pytest

from ops.postgres.endpoint import Endpoint
from ops.restores.partial.shape import tables_of
from ops.runs import OWNER

KEYS = {
    "a int PRIMARY KEY, b int": ("a",),
    "a int, b int, PRIMARY KEY (b, a)": ("b", "a"),
    "a int, b int, PRIMARY KEY (a) INCLUDE (b)": ("a",),
    "a int, b int NOT NULL UNIQUE": ("b",),
    "a int UNIQUE, b int": (),
    "a int, b int, UNIQUE (a, b) INCLUDE (c), c int": (),
    "a int NOT NULL, b int, c int, UNIQUE (a) INCLUDE (b, c)": ("a",),
    "a int NOT NULL UNIQUE, b int PRIMARY KEY": ("b",),
}


@pytest.mark.parametrize(("columns", "key"), KEYS.items())
def test_the_key_is_that_of_the_index(
    fresh_database: str, columns: str, key: tuple[str, ...]
) -> None:
    with Endpoint.of(OWNER).connect() as connection:
        connection.execute(f"CREATE TABLE public.t ({columns})".encode())
        assert tables_of(connection)["public.t"].key == key
