"""Rows of the past beside those of today, in temporary tables of a session on the live server.

For each table two of them: `wanted` has the rows as they should be, whole rows with today's
columns; `act` says which of them come back, are set back or go, and how today's row looked when
that was decided. Everything is done by SQL, so a million rows take no memory here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from ops.backups.pinned import SETTINGS
from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.partial.drift import Pair
from ops.restores.partial.shape import Table, equal, names

_BLOCK = 1 << 20  # bytes of rows between two looks at whether to stop
MISSING, CHANGED, EXTRA = "missing", "changed", "extra"


@dataclass
class Staged:
    """What is to become of one table."""

    table: Table
    number: int
    compared: tuple[str, ...]  # columns that both sides have and that are to be set back
    counts: dict[str, int] = field(default_factory=dict)  # missing, changed, extra: what differs
    planned: dict[str, int] = field(default_factory=dict)  # by RowAct: what is to be done

    @property
    def wanted(self) -> sql.Identifier:
        """The temporary table of rows as they should be."""
        return sql.Identifier("pg_temp", f"wanted_{self.number}")

    @property
    def act(self) -> sql.Identifier:
        """The temporary table of what is done to which row."""
        return sql.Identifier("pg_temp", f"act_{self.number}")

    def same(self, left: str, right: str) -> sql.Composed:
        """Return the condition that two aliases have the same key."""
        return equal(left, self.table.key, right, self.table.key)


def prepare_session(connection: Connection) -> None:
    """Let two sessions print values alike; names are looked up as an operator would expect."""
    for name, value in SETTINGS.items():
        if name != "search_path":
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
    connection.execute("SET search_path = public, pg_temp")


def image(table: Table, alias: str, columns: Sequence[str] | None = None) -> sql.Composed:
    """Return a row as JSON of texts, by column: what casts back to the very same value."""
    chosen = table.stored if columns is None else columns
    return sql.SQL("jsonb_object(ARRAY[{}]::text[], ARRAY[{}]::text[])").format(
        sql.SQL(", ").join(sql.Literal(name) for name in chosen),
        sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in chosen
        ),
    )


class Stage:
    """The temporary tables of one recovery."""

    def __init__(self, live: Connection, progress: Progress) -> None:
        self.live, self.progress = live, progress
        self.tables: list[Staged] = []

    def add(self, table: Table, compared: Sequence[str]) -> Staged:
        """Make the temporary tables of a table. The same one twice is a mistake."""
        staged = Staged(table, len(self.tables), tuple(compared))
        self.live.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING GENERATED)"
            ).format(sql.Identifier(f"wanted_{staged.number}"), table.sql)
        )
        # What is refused is listed, row by row, before it is tried (conflicts.py).
        loosened = [c.name for c in table.columns if c.not_null]
        if loosened:
            self.live.execute(
                sql.SQL("ALTER TABLE {} {}").format(
                    staged.wanted,
                    sql.SQL(", ").join(
                        sql.SQL("ALTER {} DROP NOT NULL").format(sql.Identifier(name))
                        for name in loosened
                    ),
                )
            )
        self.live.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} AS SELECT {}, ''::text AS what, ''::text AS act,"
                " NULL::jsonb AS before FROM {} AS r LIMIT 0"
            ).format(
                sql.Identifier(f"act_{staged.number}"),
                sql.SQL(", ").join(
                    sql.SQL("r.{0} AS {1}").format(sql.Identifier(n), sql.Identifier(n))
                    for n in table.key
                ),
                table.sql,
            )
        )
        self.tables.append(staged)
        return staged

    def load(self, past: Connection, pair: Pair, chosen: sql.Identifier | None) -> Staged:
        """Bring chosen rows of the past here; None: all of them.

        Raises RefusedError where a value does not fit the column's type of today.
        """
        staged = self.add(pair.live, [new for _, new in pair.columns])
        query = _past_rows(past, pair, chosen)
        target = sql.SQL("COPY {} ({}) FROM STDIN").format(
            staged.wanted, names(new for _, new in pair.columns)
        )
        try:
            with (
                past.cursor().copy(query) as source,
                self.live.cursor().copy(target) as sink,
            ):
                size = 0
                for block in source:
                    sink.write(block)
                    size += len(block)
                    if size > _BLOCK:
                        self.progress.check()
                        size = 0
        except (psycopg.DataError, psycopg.errors.CannotCoerce) as error:
            raise RefusedError(
                f"Rows of {pair.title} don't fit its columns of today: {one_line(error)}. Nothing "
                "was changed. Restore the backup beside (`manage.py restore BACKUP --as NAME`) and "
                "convert them there."
            ) from None
        self.index(staged)
        return staged

    def compare(self, staged: Staged, extra: sql.Composable | None) -> None:
        """Find what differs. `extra` is SQL on the alias l: which of today's rows were to be there.

        None leaves rows of today that the past does not have alone and uncounted.
        """
        table = staged.table
        self._note(
            staged,
            sql.SQL(
                "SELECT {key}, CASE WHEN l.{first} IS NULL THEN {missing} ELSE {changed} END, '',"
                " CASE WHEN l.{first} IS NOT NULL THEN {before} END"
                " FROM {wanted} AS w LEFT JOIN {live} AS l ON {same}"
                " WHERE l.{first} IS NULL OR ({differs})"
            ).format(
                key=names(table.key, "w"),
                first=sql.Identifier(table.key[0]),
                missing=sql.Literal(MISSING),
                changed=sql.Literal(CHANGED),
                before=image(table, "l"),
                wanted=staged.wanted,
                live=table.rows,
                same=staged.same("w", "l"),
                differs=differs(staged.compared, "w", "l"),
            ),
        )
        if extra is not None:
            self._note(
                staged,
                sql.SQL(
                    "SELECT {key}, {extra}, '', {before} FROM {live} AS l WHERE {among}"
                    " AND NOT EXISTS (SELECT FROM {wanted} AS w WHERE {same})"
                ).format(
                    key=names(table.key, "l"),
                    extra=sql.Literal(EXTRA),
                    before=image(table, "l"),
                    live=table.rows,
                    among=extra,
                    wanted=staged.wanted,
                    same=staged.same("w", "l"),
                ),
            )
        self.count(staged)

    def count(self, staged: Staged) -> None:
        """Note how many rows differ."""
        rows = self.live.execute(
            sql.SQL("SELECT what, count(*) FROM {} GROUP BY what").format(staged.act)
        ).fetchall()
        staged.counts = dict(rows)

    def decide(self, staged: Staged, acts: dict[str, RowAct]) -> None:
        """Say what is done about which differences, and complete the rows that are wanted.

        A column that is not compared keeps today's value in rows that are set back.
        """
        for what, act in acts.items():
            self.live.execute(
                sql.SQL("UPDATE {} SET act = %s WHERE what = %s").format(staged.act), [act, what]
            )
        kept = [name for name in staged.table.stored if name not in staged.compared]
        if kept:
            self.live.execute(
                sql.SQL(
                    "UPDATE {wanted} AS w SET {kept} FROM {act} AS a JOIN {live} AS l ON"
                    " {same} WHERE a.act = {updated} AND {is_wanted}"
                ).format(
                    wanted=staged.wanted,
                    kept=_assigned(kept, "l"),
                    act=staged.act,
                    live=staged.table.rows,
                    same=staged.same("a", "l"),
                    updated=sql.Literal(RowAct.UPDATED),
                    is_wanted=staged.same("a", "w"),
                )
            )
        rows = self.live.execute(
            sql.SQL("SELECT act, count(*) FROM {} WHERE act <> '' GROUP BY act").format(staged.act)
        ).fetchall()
        staged.planned = dict(rows)

    def _note(self, staged: Staged, query: sql.Composed) -> None:
        self.live.execute(
            sql.SQL("INSERT INTO {} ({}, what, act, before) {}").format(
                staged.act, names(staged.table.key), query
            )
        )

    def index(self, staged: Staged) -> None:
        """Let the rows that are wanted be found by their keys, once they are there."""
        self.live.execute(
            sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(staged.wanted, names(staged.table.key))
        )
        self.live.execute(sql.SQL("ANALYZE {}").format(staged.wanted))


def _assigned(columns: Sequence[str], alias: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier(alias, name))
        for name in columns
    )


def differs(columns: Sequence[str], left: str, right: str) -> sql.Composed:
    """Return the condition that two rows print otherwise.

    Equal bytes print alike, and comparing bytes is fast; 1.0 and 1.00 are equal, and differ here.
    """
    if not columns:
        return sql.Composed([sql.SQL("false")])
    one, other = names(columns, left), names(columns, right)
    return sql.SQL(
        "ROW({0})::record OPERATOR(pg_catalog.*<>) ROW({1})::record"
        ' AND ROW({0})::text COLLATE "C" IS DISTINCT FROM ROW({1})::text COLLATE "C"'
    ).format(one, other)


def _past_rows(past: Connection, pair: Pair, chosen: sql.Identifier | None) -> sql.Composed:
    columns = []
    for old, new in pair.columns:
        column = sql.SQL("r.{}").format(sql.Identifier(old))
        if new in pair.retyped and _casts(
            past, pair.past.by_name[old].type, pair.live.by_name[new].type
        ):
            column = sql.SQL("{}::{}").format(column, sql.SQL(pair.live.by_name[new].type))
        columns.append(column)
    query = sql.SQL("SELECT {} FROM {} AS r").format(sql.SQL(", ").join(columns), pair.past.rows)
    if chosen is not None:
        own = {new: old for old, new in pair.columns}
        query += sql.SQL(" JOIN {} AS k ON {}").format(
            chosen, equal("r", [own[n] for n in pair.live.key], "k", pair.live.key)
        )
    return sql.SQL("COPY ({}) TO STDOUT").format(query)


def _casts(past: Connection, old: str, new: str) -> bool:
    """Whether the past's server knows both types and a way from one to the other."""
    try:
        with past.transaction(force_rollback=True):
            past.execute(sql.SQL("SELECT NULL::{}::{}").format(sql.SQL(old), sql.SQL(new)))
    except psycopg.Error:
        return False
    return True
