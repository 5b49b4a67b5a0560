"""Which rows belong together: those that were chosen, what hangs on them, what they stand on.

Keys of chosen rows are in temporary tables of the server that is asked, the past's private one or
the live one, however many they are. Downwards (the lines of an invoice, its history) everything
comes that refers to a chosen row; upwards only what is missing today, for a row has to stand on
something.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.partial.drift import Pair
from ops.restores.partial.shape import Reference, Table, equal, names

# Keys of rows of a table, in a temporary table of that name of the past: which are missing today?
# They are left in it, and the others taken out.
KeepMissing = Callable[[str, sql.Identifier], None]


@dataclass(frozen=True)
class Side:
    """A table as one of the two databases has it, by today's names."""

    title: str
    schema: str
    table: sql.Identifier
    rows: sql.Composed  # with those of its partitions, without those of its children
    key: tuple[str, ...]  # today's names
    own: Mapping[str, str]  # from today's names of columns to the database's own

    @classmethod
    def of_live(cls, table: Table) -> Side:
        """Return a table of today."""
        return cls(
            table.title,
            table.schema,
            table.sql,
            table.rows,
            table.key,
            {column.name: column.name for column in table.columns},
        )

    @classmethod
    def of_past(cls, pair: Pair) -> Side:
        """Return a table of the backup under its name of today."""
        own = {new: old for old, new in pair.columns}
        past = pair.past
        return cls(pair.title, past.schema, past.sql, past.rows, pair.live.key, own)

    def knows(self, columns: Iterable[str]) -> bool:
        """Whether the database has all these columns."""
        return all(name in self.own for name in columns)

    def names(self, columns: Iterable[str]) -> list[str]:
        """Return what the database calls these columns."""
        return [self.own[name] for name in columns]


class Closure:
    """The rows that are chosen so far, in one session on one of the databases."""

    def __init__(
        self,
        connection: Connection,
        sides: Mapping[str, Side],
        references: Sequence[Reference],
        progress: Progress,
    ) -> None:
        self.connection, self.sides, self.progress = connection, sides, progress
        self._chosen: dict[str, sql.Identifier] = {}
        self._made = self._round = 0
        self._down: dict[str, list[Reference]] = defaultdict(list)
        self._up: dict[str, list[Reference]] = defaultdict(list)
        for each in references:
            child, parent = sides.get(each.table), sides.get(each.to_table)
            if child is None or parent is None or not child.key or not parent.key:
                continue
            if child.knows(each.columns) and parent.knows(each.to_columns):
                self._down[each.to_table].append(each)
                if not each.is_history:
                    self._up[each.table].append(each)

    @property
    def titles(self) -> list[str]:
        """The tables that have chosen rows or were asked for."""
        return list(self._chosen)

    def chosen(self, title: str) -> sql.Identifier:
        """Return the temporary table of a table's chosen keys, under today's names of columns."""
        if title not in self._chosen:
            side, name = self.sides[title], sql.Identifier(f"chosen_{self._made}")
            self._made += 1
            self.connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} AS SELECT {}, 0 AS chosen_round FROM {} AS r LIMIT 0"
                ).format(name, self._key(side, "r"), side.table)
            )
            self.connection.execute(
                sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(name, names(side.key))
            )
            self._chosen[title] = name
        return self._chosen[title]

    def choose(self, title: str, condition: sql.Composable | None = None) -> int:
        """Choose the rows of a table, or those an SQL condition on the alias r is true of."""
        side = self.sides[title]
        return self._add(
            title,
            sql.SQL("SELECT {} FROM {} AS r WHERE {}").format(
                self._key(side, "r"), side.rows, condition or sql.SQL("true")
            ),
        )

    def grow_down(self, *, related: bool) -> None:
        """Add what refers to chosen rows, until nothing more does; their histories in any case."""
        self._follow(self._down_step, related)

    def grow_up(self, *, related: bool, keep_missing: KeepMissing) -> None:
        """Add what chosen rows refer to and what is missing today, with its history."""
        self._round += 1
        self._restart()
        self._follow(lambda title, _: self._up_step(title, keep_missing), related)
        self._histories()

    def keep(self, title: str, condition: sql.Composable) -> None:
        """Leave of a table's chosen rows those that a condition on the alias k is true of."""
        side, former = self.sides[title], self._chosen.pop(title)
        # The rest may be millions of rows: a new table has no dead ones.
        kept = self.chosen(title)
        self.connection.execute(
            sql.SQL("INSERT INTO {} SELECT k.* FROM {} AS k WHERE {}").format(
                kept, former, condition
            )
        )
        self.connection.execute(sql.SQL("DROP TABLE {}").format(former))
        self.connection.execute(sql.SQL("ANALYZE {} ({})").format(kept, names(side.key)))

    def count(self, title: str) -> int:
        """Return how many rows of a table are chosen."""
        row = self.connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(self.chosen(title))
        ).fetchone()
        return int(row[0]) if row else 0

    # --- steps ------------------------------------------------------------------------------------

    def _follow(self, step: Callable[[str, bool], set[str]], related: bool) -> None:
        """Take a step from every table with new rows, until no step finds any."""
        fresh = set(self._chosen)
        while fresh:
            self._round += 1
            found: set[str] = set()
            for title in sorted(fresh):
                self.progress.check()
                found |= step(title, related)
            fresh = found

    def _down_step(self, title: str, related: bool) -> set[str]:
        found = set()
        for each in self._down[title]:
            if not (related or each.is_history):
                continue
            if self._add(each.table, self._children(each, only_new=True)):
                found.add(each.table)
        return found

    def _histories(self) -> None:
        for title in list(self._chosen):
            for each in self._down[title]:
                if each.is_history:
                    self._add(each.table, self._children(each, only_new=False))

    def _children(self, each: Reference, *, only_new: bool) -> sql.Composed:
        child, parent = self.sides[each.table], self.sides[each.to_table]
        return sql.SQL(
            "SELECT {key} FROM {child} AS r JOIN {parent} AS p ON {refers}"
            " JOIN {chosen} AS k ON {is_chosen} WHERE {condition} {fresh}"
        ).format(
            key=self._key(child, "r"),
            child=child.rows,
            parent=parent.rows,
            refers=equal("r", child.names(each.columns), "p", parent.names(each.to_columns)),
            chosen=self.chosen(each.to_table),
            is_chosen=equal("p", parent.names(parent.key), "k", parent.key),
            condition=sql.SQL(f"({each.condition})" if each.condition else "true"),
            fresh=self._fresh() if only_new else sql.SQL(""),
        )

    def _up_step(self, title: str, keep_missing: KeepMissing) -> set[str]:
        found = set()
        child = self.sides[title]
        for each in self._up[title]:
            parent = self.sides[each.to_table]
            wanted = sql.Identifier("chosen_wanted")
            self.connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {wanted} AS SELECT DISTINCT {key} FROM {parent}"
                    " AS p JOIN {child} AS r ON {refers} JOIN {chosen} AS k ON {is_chosen}"
                    " WHERE {condition} {fresh} AND NOT EXISTS (SELECT FROM {known} AS o WHERE"
                    " {same})"
                ).format(
                    wanted=wanted,
                    key=self._key(parent, "p"),
                    parent=parent.rows,
                    child=child.rows,
                    refers=equal(
                        "r", child.names(each.columns), "p", parent.names(each.to_columns)
                    ),
                    chosen=self.chosen(title),
                    is_chosen=equal("r", child.names(child.key), "k", child.key),
                    condition=sql.SQL(f"({each.condition})" if each.condition else "true"),
                    fresh=self._fresh(),
                    known=self.chosen(each.to_table),
                    same=equal("o", parent.key, "p", parent.names(parent.key)),
                )
            )
            try:
                keep_missing(each.to_table, wanted)
                query = sql.SQL("SELECT {} FROM {}").format(names(parent.key), wanted)
                if self._add(each.to_table, query):
                    found.add(each.to_table)
            finally:
                self.connection.execute(sql.SQL("DROP TABLE {}").format(wanted))
        return found

    def _add(self, title: str, query: sql.Composed) -> int:
        side = self.sides[title]
        cursor = self.connection.execute(
            sql.SQL(
                "INSERT INTO {} ({}, chosen_round) SELECT s.*, {} FROM ({}) AS s"
                " ON CONFLICT DO NOTHING"
            ).format(self.chosen(title), names(side.key), sql.Literal(self._round), query)
        )
        return cursor.rowcount

    def _fresh(self) -> sql.Composed:
        return sql.SQL("AND k.chosen_round >= {}").format(sql.Literal(self._round - 1))

    def _restart(self) -> None:
        """Let all rows be new ones again."""
        for name in self._chosen.values():
            self.connection.execute(
                sql.SQL("UPDATE {} SET chosen_round = {}").format(name, sql.Literal(self._round))
            )

    def _key(self, side: Side, alias: str) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier(alias, side.own[name]), sql.Identifier(name))
            for name in side.key
        )


def reachable(
    titles: Iterable[str], references: Sequence[Reference], *, related: bool
) -> list[str]:
    """Return the tables that may have rows to come along, the given ones first."""
    found = dict.fromkeys(titles)
    _reach(found, [(r.to_table, r.table) for r in references if related or r.is_history])
    _reach(found, [(r.table, r.to_table) for r in references if not r.is_history])
    _reach(found, [(r.to_table, r.table) for r in references if r.is_history])
    return list(found)


def _reach(found: dict[str, Any], edges: Sequence[tuple[str, str]]) -> None:
    queue = list(found)
    while queue:
        title = queue.pop()
        for source, target in edges:
            if source == title and target not in found:
                found[target] = None
                queue.append(target)
