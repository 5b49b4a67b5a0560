"""The query that counts a table's rows and adds up their hashes.

A row's hash is its columns' hashes, each begun with the column's number by name, so that neither a
column's place nor a value that moved to another column is overlooked. It is read beside every dump:
calling each type's own function takes a fourth of what hashing the row's text would.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from psycopg import sql

_BYTES = 'COLLATE pg_catalog."C"'  # whatever the column's own collation holds for equal
# How a value is hashed: by functions that hash partitions are found by, which therefore stay the
# same from version to version. Of these types each value has one form.
_OWN = {
    "text": 'pg_catalog.hashtextextended({column} COLLATE pg_catalog."C", {seed})',
    "character varying": 'pg_catalog.hashtextextended({column} COLLATE pg_catalog."C", {seed})',
    "smallint": "pg_catalog.hashint2extended({column}, {seed})",
    "integer": "pg_catalog.hashint4extended({column}, {seed})",
    # The function folds 64 bits to 32: 1 and 4294967296 would be the same.
    "bigint": "pg_catalog.hashint8extended({column}, {seed}) # {column}",
    "timestamp without time zone": "pg_catalog.timestamp_hash_extended({column}, {seed})",
    # In UTC, which is pinned; a function of its own came with PostgreSQL 18.
    "timestamp with time zone": ("pg_catalog.timestamp_hash_extended({column}::timestamp, {seed})"),
    "uuid": "pg_catalog.uuid_hash_extended({column}, {seed})",
}
# The same, of types whose functions cannot be called by name in every version.
_AS_RECORD = {"boolean", "oid", "bytea", "date"}


@lru_cache(maxsize=1024)  # put together anew, it takes longer than a small table's rows
def content_query(
    schema: str, name: str, columns: tuple[tuple[str, str], ...], condition: str | None
) -> str:
    """Return the query of a table's rows, without its children's: their number and their sum.

    `columns` are names and types, sorted by name. The session's settings have to be pinned.
    """
    # Columns are spelled out, not `r`, which might be a column itself.
    hashed = row_hash([(sql.Identifier("r", column), kind) for column, kind in columns])
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM ONLY {} r {}")
    return query.format(hashed, sql.Identifier(schema, name), sql.SQL(condition or "")).as_string()


def row_hash(columns: Sequence[tuple[sql.Composable, str]]) -> sql.Composed:
    """Return the 64-bit hash of these values, each with its type; never null.

    Their order numbers them. The session's settings have to be pinned.
    """
    numbered = [
        (column, kind, sql.Literal(number)) for number, (column, kind) in enumerate(columns, 1)
    ]
    hashes = [
        sql.SQL("coalesce({}, {})").format(
            sql.SQL(_OWN[kind]).format(column=column, seed=seed), seed
        )
        for column, kind, seed in numbered
        if kind in _OWN
    ]
    records = [column for column, kind, _ in numbered if kind in _AS_RECORD]
    if records:
        hashes.append(sql.SQL("hash_record_extended(ROW({}), 0)").format(_listed(records)))
    # Of the others equal is not the same (1.0 and 1.00, 24 hours and a day), or their hash is of a
    # number that a restore gives out anew (an enum's): their text is hashed.
    others = [column for column, kind, _ in numbered if kind not in _OWN.keys() | _AS_RECORD]
    if others:
        hashes.append(
            sql.SQL("hashtextextended(ROW({})::text " + _BYTES + ", 0)").format(_listed(others))
        )
    return _combined(hashes or [sql.SQL("1::bigint").format()])


def _combined(hashes: list[sql.Composed]) -> sql.Composed:
    """Combine them pair by pair: a chain of 1,600 columns would be too deep for the parser."""
    while len(hashes) > 1:
        pairs = [hashes[at : at + 2] for at in range(0, len(hashes), 2)]
        hashes = [sql.SQL("({})").format(sql.SQL(" # ").join(pair)) for pair in pairs]
    return hashes[0]


def _listed(columns: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(columns)
