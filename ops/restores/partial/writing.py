"""The one statement that changes every table of a recovery.

Foreign keys are checked when it ends and all rows are in their places, whatever refers to what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.restores.partial.shape import Reference, names
from ops.restores.partial.stage import Staged


def write(live: Connection, work: Sequence[Staged], references: Sequence[Reference]) -> None:
    """Change everything; rows that exchange unique values among them are put in anew.

    Raises psycopg.Error where the database refuses a row.
    """
    if not work:
        return
    try:
        with live.transaction():
            live.execute(_statement(live, work, frozenset()))
            live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.errors.UniqueViolation:
        acting = {r.to_table for r in references if r.declared and r.on_delete != "a"}
        renewed = frozenset(
            each.table.title
            for each in work
            if RowAct.UPDATED in each.planned and each.table.title not in acting
        )
        if not renewed:
            raise
        live.execute(_statement(live, work, renewed))
        live.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _statement(live: Connection, work: Sequence[Staged], renewed: frozenset[str]) -> sql.Composed:
    """Return one statement: deletions, then changes, then new rows, of every table."""
    parts = [part for each in work for part in _parts(each, renew=each.table.title in renewed)]
    return sql.SQL("WITH {} SELECT 1").format(sql.SQL(", ").join(parts))


def _parts(each: Staged, *, renew: bool) -> Iterator[sql.Composed]:
    """Yield a table's deletion, change and insertion. Each begins when those before have ended."""
    planned = dict(each.planned)
    gone, fresh = [RowAct.DELETED], [RowAct.INSERTED]
    if renew and RowAct.UPDATED in planned:
        gone, fresh = [*gone, RowAct.UPDATED], [*fresh, RowAct.UPDATED]
        del planned[RowAct.UPDATED]
        planned |= {RowAct.DELETED: 1, RowAct.INSERTED: 1}
    values = {
        "live": each.table.sql,
        "rows": each.table.rows,
        "act": each.act,
        "wanted": each.wanted,
        "same": each.same("l", "a"),
        "is_wanted": each.same("w", "a"),
    }
    earlier: list[sql.Composable] = []
    if RowAct.DELETED in planned:
        name = sql.Identifier(f"gone_{each.number}")
        yield sql.SQL(
            "{name} AS (DELETE FROM {rows} AS l USING {act} AS a WHERE {same}"
            " AND a.act = ANY ({acts}) RETURNING 1)"
        ).format(name=name, acts=_texts(gone), **values)
        earlier.append(sql.SQL(" AND (SELECT count(*) FROM {}) >= 0").format(name))
    set_back = [name for name in each.compared if name not in each.table.key]
    if RowAct.UPDATED in planned and set_back:
        name = sql.Identifier(f"changed_{each.number}")
        yield sql.SQL(
            "{name} AS (UPDATE {rows} AS l SET {assigned} FROM {act} AS a JOIN {wanted} AS w"
            " ON {is_wanted} WHERE {same} AND a.act = {updated}{earlier} RETURNING 1)"
        ).format(
            name=name,
            assigned=sql.SQL(", ").join(
                sql.SQL("{0} = w.{0}").format(sql.Identifier(column)) for column in set_back
            ),
            updated=sql.Literal(RowAct.UPDATED.value),
            earlier=sql.Composed(earlier),
            **values,
        )
        earlier.append(sql.SQL(" AND (SELECT count(*) FROM {}) >= 0").format(name))
    if RowAct.INSERTED in planned:
        yield sql.SQL(
            "{name} AS (INSERT INTO {live} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values}"
            " FROM {act} AS a JOIN {wanted} AS w ON {is_wanted} WHERE a.act = ANY ({acts})"
            "{earlier} RETURNING 1)"
        ).format(
            name=sql.Identifier(f"new_{each.number}"),
            columns=names(each.table.stored),
            values=names(each.table.stored, "w"),
            acts=_texts(fresh),
            earlier=sql.Composed(earlier),
            **{name: values[name] for name in ("live", "act", "wanted", "is_wanted")},
        )


def _texts(acts: Sequence[RowAct]) -> sql.Literal:
    return sql.Literal([act.value for act in acts])
