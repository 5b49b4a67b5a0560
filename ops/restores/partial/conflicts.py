"""What stands in the way of rows that are to come back, found before it is tried.

Each conflict is a sentence that names the row and what it collides with. Nothing of today is
overwritten for a recovered row's sake: a number that was given out again stays with who has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.restores.partial.shape import Reference, equal
from ops.restores.partial.stage import Staged

SHOWN = 20  # of each kind, for each table

_UNIQUE = """
    SELECT c.relname, array_agg(pg_get_indexdef(i.indexrelid, k.place::int, false)
        ORDER BY k.place), pg_get_expr(i.indpred, i.indrelid),
      coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
      (SELECT array_agg(format('OPERATOR(%%I.%%s)', n.nspname, o.oprname) ORDER BY x.place)
       FROM pg_constraint s, unnest(s.conexclop) WITH ORDINALITY AS x(number, place)
       JOIN pg_operator o ON o.oid = x.number JOIN pg_namespace n ON n.oid = o.oprnamespace
       WHERE s.conindid = i.indexrelid AND s.contype = 'x')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid,
    generate_series(1, i.indnkeyatts) AS k(place)
    WHERE i.indrelid = %s::regclass AND (i.indisunique OR i.indisexclusion) AND i.indisready
    GROUP BY i.indexrelid, c.relname, i.indpred, i.indrelid, to_jsonb(i) ORDER BY 1
"""
_CHECKS = """
    SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint
    WHERE conrelid = %s::regclass AND contype = 'c' AND conbin IS NOT NULL ORDER BY 1
"""


def conflicts(
    live: Connection, staged: Sequence[Staged], references: Sequence[Reference]
) -> list[str]:
    """Return what would be refused or overwritten, in sentences."""
    found: list[str] = []
    by_title = {each.table.title: each for each in staged if each.planned}
    for each in by_title.values():
        if each.planned.keys() & {RowAct.INSERTED, RowAct.UPDATED}:
            found += _taken(live, each)
            found += _unfit(live, each)
    for reference in references:
        if not reference.declared:
            continue
        child, parent = by_title.get(reference.table), by_title.get(reference.to_table)
        if child is not None and child.planned.keys() & {RowAct.INSERTED, RowAct.UPDATED}:
            found += _parentless(live, child, parent, reference)
        if parent is not None and RowAct.DELETED in parent.planned:
            found += _needed(live, parent, child, reference)
    return found


def row_name(title: str, key: Sequence[Any]) -> str:
    """Return what a row is called in a sentence."""
    return f"{title} {', '.join(str(part) for part in key)}"


def _taken(live: Connection, staged: Staged) -> Iterator[str]:
    """Rows of today that have what a recovered row needs for itself."""
    table = staged.table
    for name, columns, predicate, nulls_equal, operators in _unique(live, staged):
        where = sql.SQL(predicate or "true")
        value = sql.SQL(", ").join(sql.SQL("({})::text").format(sql.SQL(c)) for c in columns)
        fields = [sql.SQL(c) for c in columns]
        inner = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(each, sql.Identifier(f"value_{n}"))
            for n, each in enumerate(fields)
        )
        clash = sql.SQL(" AND ").join(
            sql.SQL("n.{0} {1} o.{0}").format(
                sql.Identifier(f"value_{n}"),
                sql.SQL(
                    operators[n] if operators else ("IS NOT DISTINCT FROM" if nulls_equal else "=")
                ),
            )
            for n in range(len(columns))
        )
        query = sql.SQL(
            "SELECT n.key, o.key, n.told FROM"
            " (SELECT ARRAY[{new_key}] AS key, concat_ws(', ', {value}) AS told, {inner},"
            "    {key_row} AS same FROM"
            "   (SELECT w.* FROM {wanted} AS w JOIN {act} AS a ON {is_act}"
            "    WHERE a.act IN ({ins}, {upd})) AS w WHERE {where}) AS n"
            " JOIN (SELECT ARRAY[{new_key}] AS key, {inner}, {key_row} AS same FROM"
            "   (SELECT w.* FROM {live} AS w WHERE NOT EXISTS"
            "    (SELECT FROM {act} AS a WHERE {is_act} AND a.act <> '')) AS w WHERE {where}) AS o"
            " ON {clash} AND n.same IS DISTINCT FROM o.same LIMIT {shown}"
        ).format(
            new_key=sql.SQL(", ").join(
                sql.SQL("w.{}::text").format(sql.Identifier(k)) for k in table.key
            ),
            key_row=sql.SQL("ROW({})").format(
                sql.SQL(", ").join(sql.Identifier("w", k) for k in table.key)
            ),
            value=value,
            inner=inner,
            wanted=staged.wanted,
            act=staged.act,
            is_act=staged.same("a", "w"),
            ins=sql.Literal(RowAct.INSERTED),
            upd=sql.Literal(RowAct.UPDATED),
            live=table.rows,
            where=where,
            clash=clash,
            shown=sql.Literal(SHOWN),
        )
        named = ", ".join(columns)
        for key, other, told in _asked(live, query):
            yield (
                f"{row_name(table.title, key)} can't come back: {named} ({told}) is taken by "
                f"{row_name(table.title, other)} of today ({name})."
            )


def _unique(live: Connection, staged: Staged) -> list[Any]:
    rows = live.execute(_UNIQUE, [staged.table.title]).fetchall()
    key = list(staged.table.key)
    return [row for row in rows if not (row[1] == key and row[2] is None)]


def _unfit(live: Connection, staged: Staged) -> Iterator[str]:
    """Recovered rows that a check or NOT NULL of today refuses."""
    table = staged.table
    rules = [
        (name, sql.SQL("NOT ({})").format(sql.SQL(text)))
        for name, text in live.execute(_CHECKS, [table.title]).fetchall()
    ]
    rules += [
        (
            f"{column.name} may not be empty",
            sql.SQL("{} IS NULL").format(sql.Identifier(column.name)),
        )
        for column in table.columns
        if column.not_null and not column.generated
    ]
    for name, broken in rules:
        query = sql.SQL(
            "SELECT ARRAY[{key}] FROM (SELECT w.* FROM {wanted} AS w JOIN {act} AS a ON {is_act}"
            " WHERE a.act IN ({ins}, {upd})) AS w WHERE {broken} LIMIT {shown}"
        ).format(
            key=sql.SQL(", ").join(
                sql.SQL("w.{}::text").format(sql.Identifier(k)) for k in table.key
            ),
            wanted=staged.wanted,
            act=staged.act,
            is_act=staged.same("a", "w"),
            ins=sql.Literal(RowAct.INSERTED),
            upd=sql.Literal(RowAct.UPDATED),
            broken=broken,
            shown=sql.Literal(SHOWN),
        )
        for (key,) in _asked(live, query):
            yield f"{row_name(table.title, key)} does not fit today's rules: {name}."


def _parentless(
    live: Connection, child: Staged, parent: Staged | None, reference: Reference
) -> Iterator[str]:
    """Recovered rows that refer to a row which is gone and does not come back with them."""
    refers = equal("w", reference.columns, "p", reference.to_columns)
    going = coming = sql.Composed([])
    if parent is not None:
        going = sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS d WHERE {} AND d.act = {})").format(
            parent.act, parent.same("d", "p"), sql.Literal(RowAct.DELETED)
        )
        coming = sql.SQL(
            " AND NOT EXISTS (SELECT FROM {wanted} AS p JOIN {act} AS d ON {same}"
            " WHERE d.act IN ({ins}, {upd}) AND {refers})"
        ).format(
            wanted=parent.wanted,
            act=parent.act,
            same=parent.same("d", "p"),
            ins=sql.Literal(RowAct.INSERTED),
            upd=sql.Literal(RowAct.UPDATED),
            refers=refers,
        )
    query = sql.SQL(
        "SELECT ARRAY[{key}], concat_ws(', ', {told}) FROM {wanted} AS w JOIN {act} AS a ON"
        " {is_act} WHERE a.act IN ({ins}, {upd}) AND {set} AND NOT EXISTS"
        " (SELECT FROM {to} AS p WHERE {refers}{going}){coming} LIMIT {shown}"
    ).format(
        key=sql.SQL(", ").join(
            sql.SQL("w.{}::text").format(sql.Identifier(k)) for k in child.table.key
        ),
        told=sql.SQL(", ").join(
            sql.SQL("w.{}::text").format(sql.Identifier(k)) for k in reference.columns
        ),
        wanted=child.wanted,
        act=child.act,
        is_act=child.same("a", "w"),
        ins=sql.Literal(RowAct.INSERTED),
        upd=sql.Literal(RowAct.UPDATED),
        set=sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier("w", k)) for k in reference.columns
        ),
        to=reference.to_rows,
        refers=refers,
        going=going,
        coming=coming,
        shown=sql.Literal(SHOWN),
    )
    for key, told in _asked(live, query):
        yield (
            f"{row_name(child.table.title, key)} belongs to {reference.to_table} {told}, which is "
            "gone today and does not come back with it."
        )


def _needed(
    live: Connection, parent: Staged, child: Staged | None, reference: Reference
) -> Iterator[str]:
    """Rows of today that refer to a row which is to go."""
    kept = sql.Composed([])
    if child is not None:
        kept = sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS d WHERE {} AND d.act <> '')").format(
            child.act, child.same("d", "r")
        )
    query = sql.SQL(
        "SELECT ARRAY[{key}], count(*) FROM {act} AS a JOIN {parent} AS p ON {is_act}"
        " JOIN {child} AS r ON {refers} WHERE a.act = {deleted}{kept} GROUP BY 1"
        " LIMIT {shown}"
    ).format(
        key=sql.SQL(", ").join(
            sql.SQL("a.{}::text").format(sql.Identifier(k)) for k in parent.table.key
        ),
        act=parent.act,
        parent=parent.table.rows,
        is_act=parent.same("a", "p"),
        child=reference.rows,
        refers=equal("r", reference.columns, "p", reference.to_columns),
        deleted=sql.Literal(RowAct.DELETED),
        kept=kept,
        shown=sql.Literal(SHOWN),
    )
    for key, count in _asked(live, query):
        yield (
            f"{row_name(parent.table.title, key)} was not there and would go, but {count:,} row(s) "
            f"of {reference.table} belong to it today."
        )


def _asked(live: Connection, query: sql.Composed) -> list[tuple[Any, ...]]:
    """Ask; what can't be asked beforehand is found out, and rolled back, when it is tried."""
    try:
        with live.transaction():
            return live.execute(query).fetchall()
    except (psycopg.errors.UndefinedFunction, psycopg.DataError):
        return []
