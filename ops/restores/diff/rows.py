"""The rows of a difference, read on demand: column by column, old and new, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.restores.diff.both import reading, told
from ops.restores.diff.sides import Side, Value
from ops.restores.diff.tables import KIND, PAST_ROW, PAST_TABLE, Kind, TableDifference

_AT_ONCE = 500  # rows

Texts = Mapping[str, str | None]


@dataclass(frozen=True)
class RowDifference:
    """One row: `columns` are old and new, of a changed row those that differ."""

    key: tuple[str, ...]  # as text, in the order of the pairing's key
    kind: Kind
    columns: Mapping[str, tuple[str | None, str | None]]


def keys(
    past: Connection, found: TableDifference, kind: Kind, *, at_once: int = _AT_ONCE
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the keys of one kind, as text, in batches and in order."""
    query = sql.SQL("SELECT {} FROM {} f WHERE {} = {} ORDER BY {}").format(
        _texts_of_key(found.past.key),
        found.found,
        sql.Identifier(KIND),
        sql.Literal(str(kind)),
        _key_of("f", found.past.key),
    )
    for rows in _batches(past, query, at_once):
        yield [tuple(key) for (key,) in rows]


def rows(
    live: Connection,
    past: Connection,
    found: TableDifference,
    kinds: Iterable[Kind] = tuple(Kind),
    *,
    at_once: int = _AT_ONCE,
) -> Iterator[RowDifference]:
    """Yield the rows that differ, ordered by kind and key; a batch is in memory at a time.

    A row that changed meanwhile on the live server is told as it is now, and one that does not
    differ any more is left out. Raises RestoreError.
    """
    names = [each.name for each in found.past.values]
    query = sql.SQL(
        "SELECT f.{kind}, {key}, CASE WHEN f.{kind} <> 'extra' THEN {values} END"
        " FROM {found} f LEFT JOIN {past} r ON r.ctid = f.{row} AND r.tableoid = f.{table}"
        " WHERE f.{kind} = ANY ({kinds}) ORDER BY f.{kind}, {order}"
    ).format(
        kind=sql.Identifier(KIND),
        key=_texts_of_key(found.past.key),
        values=_texts(found.past.values),
        found=found.found,
        past=found.past.relation,
        row=sql.Identifier(PAST_ROW),
        table=sql.Identifier(PAST_TABLE),
        kinds=sql.Literal([str(kind) for kind in kinds]),
        order=_key_of("f", found.past.key),
    )
    with told(found.table):
        for batch in _batches(past, query, at_once):
            wanted = [tuple(key) for kind, key, _ in batch if kind != Kind.MISSING]
            today = live_rows(live, found.live, wanted) if wanted else {}
            for kind, key, values in batch:
                old = dict(zip(names, values, strict=True)) if values is not None else None
                row = _row(Kind(kind), tuple(key), old, today.get(tuple(key)))
                if row is not None:
                    yield row


def live_rows(
    live: Connection, side: Side, wanted: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, str | None]]:
    """Return rows of today by their keys; those that are gone are not in it."""
    columns = [[key[place] for key in wanted] for place in range(len(side.key))]
    aliases = [sql.Identifier(f"k{place}") for place in range(len(side.key))]
    query = sql.SQL(
        "SELECT k.place, {values} FROM unnest({arrays}) WITH ORDINALITY AS k({aliases}, place)"
        " JOIN {relation} r ON {same}"
    ).format(
        values=_texts(side.values),
        arrays=sql.SQL(", ").join(sql.SQL("{}::text[]").format(sql.Literal(c)) for c in columns),
        aliases=sql.SQL(", ").join(aliases),
        relation=side.relation,
        same=sql.SQL(" AND ").join(
            sql.SQL("{} = k.{}::{}").format(value.read, alias, sql.SQL(value.exact_type))
            for value, alias in zip(side.key, aliases, strict=True)
        ),
    )
    names = [each.name for each in side.values]
    with reading(live):
        found = live.execute(query).fetchall()
    return {wanted[place - 1]: dict(zip(names, values, strict=True)) for place, values in found}


def _row(
    kind: Kind, key: tuple[str, ...], old: Texts | None, new: Texts | None
) -> RowDifference | None:
    if kind == Kind.MISSING or (kind == Kind.CHANGED and new is None):
        assert old is not None
        return RowDifference(
            key, Kind.MISSING, {name: (value, None) for name, value in old.items()}
        )
    if new is None:
        return None  # an extra one that is gone
    if old is None:
        return RowDifference(key, Kind.EXTRA, {name: (None, value) for name, value in new.items()})
    differing = {name: (value, new[name]) for name, value in old.items() if value != new[name]}
    return RowDifference(key, Kind.CHANGED, differing) if differing else None


def _batches(past: Connection, query: sql.Composed, size: int) -> Iterator[list[tuple[Any, ...]]]:
    # Holdable, so that it needs no transaction, which would have to end in order.
    with past.cursor(name=f"rows_{id(query)}", withhold=True) as cursor:
        cursor.execute(query)
        while batch := cursor.fetchmany(size):
            yield batch


def _texts(values: Sequence[Value]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]::text[]").format(
        sql.SQL(", ").join(sql.SQL("({})::text").format(each.read) for each in values)
    )


def _texts_of_key(key: Sequence[Value]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]::text[]").format(
        sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier("f", each.name)) for each in key
        )
    )


def _key_of(alias: str, key: Sequence[Value]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, each.name) for each in key)
