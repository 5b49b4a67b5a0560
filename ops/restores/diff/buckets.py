"""The first, coarse look: in which buckets of keys do the two sides differ at all?

Rows fall into buckets by the hash of their key. Of each bucket both sides tell how many rows it has
and what their hashes add up to, which takes one scan and next to no traffic. Only buckets that
differ are looked at row by row.
"""

from __future__ import annotations

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.restores.diff.both import at_once, reading
from ops.restores.diff.sides import Side

_MOST = 1 << 16
_ROWS_IN_ONE = 16  # or so: small enough that few rows are looked at for one that differs
_ROWS_ON_A_PAGE = 60
_SMALL = 500  # pages: row by row at once is as quick


def bucket_count(*sides: Side) -> int:
    """Return into how many buckets to divide tables of this size; 1: none."""
    pages = max(side.pages for side in sides)
    if pages < _SMALL:
        return 1
    wanted = pages * _ROWS_ON_A_PAGE // _ROWS_IN_ONE
    return min(_MOST, 1 << (wanted - 1).bit_length())


def differing(live: Connection, past: Connection, here: Side, there: Side, count: int) -> bytes:
    """Return the buckets that differ, as bits for PostgreSQL's get_bit(). Raises psycopg.Error."""
    ours, theirs = at_once(lambda: _look(live, here, count), lambda: _look(past, there, count))
    bits = bytearray(count // 8)
    for bucket in ours.keys() | theirs.keys():
        if ours.get(bucket) != theirs.get(bucket):
            bits[bucket >> 3] |= 1 << (bucket & 7)
    return bytes(bits)


def _look(connection: Connection, side: Side, count: int) -> dict[int, tuple[int, str]]:
    query = sql.SQL("SELECT {}, count(*), sum({})::text FROM {} r GROUP BY 1").format(
        side.bucket(count), side.hash, side.relation
    )
    found: dict[int, tuple[int, str]] = {}
    with reading(connection), connection.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(5000):
            found.update((bucket, (number, total)) for bucket, number, total in rows)
    return found
