"""A database of the past beside the live one, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from psycopg import sql

from ops.backups.inspection import table_name
from ops.postgres import server
from ops.postgres.endpoint import Connection
from ops.progress import Counter
from ops.restores.diff.pairing import Pairing
from ops.restores.diff.rows import RowDifference, rows
from ops.restores.diff.tables import Chosen, TableDifference, difference
from tests.harness import database


@contextmanager
def beside(live: str) -> Iterator[tuple[Connection, Connection]]:
    """Yield sessions on the live database and on an empty one of the past."""
    name = f"{live}_past"
    with database.connect() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )
    try:
        with closing(database.connect(live)) as here, closing(database.connect(name)) as there:
            yield here, there
    finally:
        with database.connect() as connection:
            server.drop_database(connection, name, end_sessions=True)


def pairing(title: str, columns: str, *, key: str = "id", past: str = "") -> Pairing:
    """Pair columns: "a b" by name, "old=new" where one was renamed."""
    pairs = [each.split("=") for each in columns.split()]
    return Pairing(
        [(each[0], each[-1]) for each in pairs],
        table_name(past or title),
        table_name(title),
        tuple(key.split()),
    )


def differ(
    live: Connection, past: Connection, pair: Pairing, *, chosen: Chosen | None = None
) -> tuple[TableDifference, list[RowDifference]]:
    """Return the difference, and all its rows."""
    found = difference(live, past, pair, Counter(), chosen=chosen)
    return found, list(rows(live, past, found))
