"""How each of the two sides is read, so that equal rows give equal hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ops.backups.contents import row_hash
from ops.backups.pinned import pinned
from ops.postgres.endpoint import Connection
from ops.restores.diff.pairing import Pairing, TableName
from ops.restores.errors import RefusedError

# Their length says nothing about what is in them, and a cast to a shorter one would cut it off.
_ANY_LENGTH = {"text", "character varying"}


@dataclass(frozen=True)
class Value:
    """A column, read on one side."""

    name: str  # the live one
    read: sql.Composable  # on the alias r
    type: str  # by which it is hashed
    exact_type: str  # as it is declared: numeric(14,2)


@dataclass(frozen=True)
class Side:
    """A table, read on one side."""

    relation: sql.Composed  # with the rows of its partitions, without those of its children
    values: list[Value]
    key: list[Value]
    pages: int  # of 8 kB

    @property
    def hash(self) -> sql.Composed:
        """A row's hash, of all compared columns."""
        return row_hash([(each.read, each.type) for each in self.values])

    def bucket(self, count: int) -> sql.Composed:
        """Which of `count` (a power of two) buckets a row's key is in."""
        hashed = row_hash([(each.read, each.type) for each in self.key])
        return sql.SQL("(({} & {})::int)").format(hashed, sql.Literal(count - 1))


def sides(live: Connection, past: Connection, pairing: Pairing) -> tuple[Side, Side, list[str]]:
    """Return both sides, the live one first, and sentences about types that differ.

    The past's values are read as the live types where they can be, and else both as text. Raises
    RefusedError when one of them has no such table or column.
    """
    live_types, live_relation, live_pages = _described(
        live, pairing.live, [new for _, new in pairing.columns], "The database"
    )
    past_types, past_relation, past_pages = _described(
        past, pairing.past, [old for old, _ in pairing.columns], "The backup"
    )
    notes: list[str] = []
    here: list[Value] = []
    there: list[Value] = []
    for old, new in pairing.columns:
        own, former = live_types[new], past_types[old]
        live_read: sql.Composable = sql.Identifier("r", new)
        past_read: sql.Composable = sql.Identifier("r", old)
        kind, exact = own
        if not _reads_alike(own, former):
            if _casts(past, former[1], exact):
                past_read = sql.SQL("({}::{})").format(past_read, sql.SQL(exact))
            else:
                live_read = sql.SQL("({}::text)").format(live_read)
                past_read = sql.SQL("({}::text)").format(past_read)
                kind = exact = "text"
                notes.append(
                    f"{'.'.join(pairing.live)}.{new} was {former[1]} and is {own[1]} now; they "
                    "are compared as text."
                )
        here.append(Value(new, live_read, kind, exact))
        there.append(Value(new, past_read, kind, exact))
    return (
        Side(live_relation, here, _key(here, pairing.key), live_pages),
        Side(past_relation, there, _key(there, pairing.key), past_pages),
        notes,
    )


def _key(values: Iterable[Value], key: Sequence[str]) -> list[Value]:
    by_name = {each.name: each for each in values}
    return [by_name[name] for name in key]


def _reads_alike(own: tuple[str, str], former: tuple[str, str]) -> bool:
    return own == former or (own[0] == former[0] and own[0] in _ANY_LENGTH)


def _described(
    connection: Connection, table: TableName, columns: Sequence[str], where: str
) -> tuple[dict[str, tuple[str, str]], sql.Composed, int]:
    with pinned(connection):
        found = connection.execute(_DESCRIPTION, table).fetchone()
    if found is None:
        raise RefusedError(
            f"{where} has no table {'.'.join(table)}, so nothing can be compared. Nothing was "
            "changed."
        )
    partitioned, pages, kinds = found
    types = {name: (kind, exact) for name, kind, exact in kinds}
    if unknown := [name for name in columns if name not in types]:
        raise RefusedError(
            f"{where} has no column {', '.join(unknown)} in {'.'.join(table)}, so it can't be "
            "compared. Nothing was changed."
        )
    only = sql.SQL("" if partitioned else "ONLY ")
    return types, only + sql.Identifier(*table), int(pages)


def _casts(past: Connection, former: str, own: str) -> bool:
    """Whether the private server knows how to make the one type of the other."""
    try:
        with pinned(past):
            past.execute(
                sql.SQL("SELECT NULL::{}::{}").format(sql.SQL(former), sql.SQL(own)), prepare=True
            )
    except psycopg.Error:
        return False
    return True


_DESCRIPTION = """
    SELECT c.relkind = 'p',
      (SELECT coalesce(sum(pg_relation_size(t.relid)), pg_relation_size(c.oid)) / 8192
       FROM pg_partition_tree(c.oid) t WHERE c.relkind = 'p' AND t.isleaf),
      (SELECT coalesce(jsonb_agg(jsonb_build_array(a.attname, a.atttypid::regtype::text,
                                                  format_type(a.atttypid, a.atttypmod))), '[]')
       FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
