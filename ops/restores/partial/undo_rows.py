"""The way back from a recovery: rows as they were before it, from what it kept of each.

Only rows that are still as the recovery left them are put back. What people did to one since is
theirs, and nothing undoes it silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.conflicts import row_name
from ops.restores.partial.shape import (
    Reference,
    Table,
    link_references,
    names,
    references_of,
    tables_of,
)
from ops.restores.partial.stage import CHANGED, EXTRA, MISSING, Stage, Staged, image
from ops.restores.subjects import links

_LISTED = 20
# What was done, what is found now, and what undoes it.
_REVERSED = {
    RowAct.INSERTED: (EXTRA, RowAct.DELETED),
    RowAct.UPDATED: (CHANGED, RowAct.UPDATED),
    RowAct.DELETED: (MISSING, RowAct.INSERTED),
}


def prepare_undo(
    live: Connection, recovery: int, progress: Progress, *, despite_changes: bool
) -> tuple[Stage, list[Reference]]:
    """Stage the rows that undo a recovery.

    Raises ConflictError, which lists rows that were changed since, unless `despite_changes`: then
    these stay as they are. Raises RefusedError where the tables are others now.
    """
    stage = Stage(live, progress)
    today = tables_of(live)
    titles = [
        title
        for (title,) in live.execute(
            'SELECT "table" FROM public.ops_recoveryrow WHERE recovery_id = %s GROUP BY 1'
            " ORDER BY min(position)",
            [recovery],
        ).fetchall()
    ]
    changed: list[str] = []
    progress.phase("looking at what was done", len(titles), "tables")
    for title in titles:
        progress.check()
        columns = _columns(live, recovery, title)
        staged = _stage(stage, _table(today, title, columns), columns, recovery)
        changed += _changed(live, staged, columns, despite_changes=despite_changes)
        stage.count(staged)
        stage.decide(staged, {})
        progress.advance(1)
    if changed and not despite_changes:
        more = f" And {len(changed) - _LISTED:,} more." if len(changed) > _LISTED else ""
        raise ConflictError(
            f"Changed since by others: {'; '.join(changed[:_LISTED])}.{more} Nothing was undone. "
            "To undo the rest and leave these as they are: --despite-changes."
        )
    return stage, [*references_of(live), *link_references(links())]


def _table(today: dict[str, Table], title: str, columns: Sequence[str]) -> Table:
    table = today.get(title)
    gone = [name for name in columns if table is None or name not in table.by_name]
    if table is None or gone:
        what = title if table is None else f"{title}.{', '.join(gone)}"
        raise RefusedError(
            f"{what} is not there any more, so its rows can't be put back as they were. Nothing "
            "was changed."
        )
    return table


def _columns(live: Connection, recovery: int, title: str) -> list[str]:
    """Return the columns that were kept of a table's rows."""
    row = live.execute(
        "SELECT ARRAY(SELECT jsonb_object_keys(coalesce(before, after))) FROM"
        ' public.ops_recoveryrow WHERE recovery_id = %s AND "table" = %s LIMIT 1',
        [recovery, title],
    ).fetchone()
    return list(row[0]) if row else []


def _stage(stage: Stage, table: Table, columns: Sequence[str], recovery: int) -> Staged:
    written = [name for name in table.stored if name in columns]
    staged = stage.add(table, written)
    of_table = sql.SQL('r.recovery_id = {} AND r."table" = {}').format(
        sql.Literal(recovery), sql.Literal(table.title)
    )
    stage.live.execute(
        sql.SQL(
            "INSERT INTO {wanted} ({columns}) SELECT {values} FROM public.ops_recoveryrow AS r"
            " WHERE {of_table} AND r.before IS NOT NULL"
        ).format(
            wanted=staged.wanted,
            columns=names(written),
            values=_cast("before", table, written),
            of_table=of_table,
        )
    )
    for act, (what, reverse) in _REVERSED.items():
        stage.live.execute(
            sql.SQL(
                "INSERT INTO {act} ({key}, what, act, before) SELECT {values}, {what}, {reverse},"
                " r.after FROM public.ops_recoveryrow AS r WHERE {of_table} AND r.act = {done}"
            ).format(
                act=staged.act,
                key=names(table.key),
                values=_cast("key", table, table.key),
                what=sql.Literal(what),
                reverse=sql.Literal(reverse.value),
                of_table=of_table,
                done=sql.Literal(act.value),
            )
        )
    stage.index(staged)
    return staged


def _cast(image_column: str, table: Table, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("(r.{} ->> {})::{}").format(
            sql.Identifier(image_column), sql.Literal(name), sql.SQL(table.by_name[name].type)
        )
        for name in columns
    )


def _changed(
    live: Connection, staged: Staged, columns: Sequence[str], *, despite_changes: bool
) -> list[str]:
    """Return the rows that are not as they were left; leave them out if they are to stay."""
    table = staged.table
    then = [name for name in table.stored if name in columns]
    now = sql.SQL("CASE WHEN l.{} IS NOT NULL THEN {} END")
    first = sql.Identifier(table.key[0])
    join = sql.SQL("{act} AS a LEFT JOIN {live} AS l ON {same}").format(
        act=staged.act, live=table.rows, same=staged.same("a", "l")
    )
    rows = live.execute(
        sql.SQL("SELECT ARRAY[{key}] FROM {join} WHERE a.before IS DISTINCT FROM {now}").format(
            key=sql.SQL(", ").join(
                sql.SQL("a.{}::text").format(sql.Identifier(name)) for name in table.key
            ),
            join=join,
            now=now.format(first, image(table, "l", then)),
        )
        + sql.SQL("" if despite_changes else f" LIMIT {_LISTED * 5}")
    ).fetchall()
    if rows and despite_changes:
        live.execute(
            sql.SQL(
                "UPDATE {act} AS t SET act = '' FROM {join} WHERE {is_same} AND a.before IS"
                " DISTINCT FROM {now}"
            ).format(
                act=staged.act,
                join=join,
                is_same=staged.same("t", "a"),
                now=now.format(first, image(table, "l", then)),
            )
        )
    # What others see from here on is today's whole row, columns that came since included.
    live.execute(
        sql.SQL("UPDATE {act} AS t SET before = {now} FROM {join} WHERE {is_same}").format(
            act=staged.act,
            now=now.format(first, image(table, "l")),
            join=join,
            is_same=staged.same("t", "a"),
        )
    )
    return [row_name(table.title, key) for (key,) in rows]
