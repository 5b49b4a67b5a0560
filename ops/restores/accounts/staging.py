"""The rows of an archive in temporary tables, and which keys they get on this server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.accounts.archive import Rows, damaged
from ops.restores.accounts.contents import Contents, Place
from ops.restores.accounts.reading import OpenArchive
from ops.restores.errors import RefusedError
from ops.restores.partial.drift import Renames
from ops.restores.partial.shape import Table

_SHOWN = 3


@dataclass
class Staged:
    """One table's rows, in a temporary table under today's names of columns."""

    table: Table
    name: sql.Identifier
    columns: list[str]
    rows: int


@dataclass
class Stage:
    """All of them, and the temporary tables of keys: old, new, and whether the row is there."""

    connection: Connection
    tables: dict[str, Staged] = field(default_factory=dict)  # of the account
    shared: dict[str, Staged] = field(default_factory=dict)
    keys: dict[Place, sql.Identifier] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def load(
        self,
        archive: OpenArchive,
        contents: Contents,
        everything: Mapping[str, Table],
        renames: Renames,
        progress: Progress,
    ) -> None:
        """Copy the archive's rows in. Raises RefusedError for what has no place here."""
        progress.phase("loading rows", archive.says.rows, "rows")
        now = {old: new for new, old in renames.tables.items()}
        for part in archive.says.tables:
            title = now.get(part.name, part.name)
            if title in contents.owned:
                table = contents.owned[title].table
                self.tables[title] = self._load(archive, part, table, renames, progress)
            elif part.rows:
                raise RefusedError(
                    f"The archive has {part.rows:,} rows of {part.name}, a table of accounts that "
                    "this version of SRVC does not have. Nothing was imported: they would be lost. "
                    "Import it into the version that wrote it."
                )
        for part in archive.says.shared:
            title = now.get(part.name, part.name)
            if title in contents.shared:
                table = everything[title]
                self.shared[title] = self._load(archive, part, table, renames, progress)

    def give_keys(self, contents: Contents) -> None:
        """Find for each key of the archive the one it has here, a new one for the account's own.

        Raises RefusedError for a plan, a group … that this server does not have.
        """
        for key in sorted(set(contents.meant.values())):
            name = f"keys_{len(self.keys)}"
            self.keys[key] = sql.Identifier("pg_temp", name)
            self.connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} (old bigint PRIMARY KEY, new bigint NOT NULL,"
                    " is_there boolean NOT NULL) ON COMMIT DROP"
                ).format(sql.Identifier(name))
            )
            if key[0] in self.shared:
                self._find_shared(key, contents.shared[key[0]])
            self._number(key, contents)

    def _load(
        self,
        archive: OpenArchive,
        part: Rows,
        table: Table,
        renames: Renames,
        progress: Progress,
    ) -> Staged:
        """Make the temporary table of an archive's table, and copy its rows in."""
        today = {old: new for (title, new), old in renames.columns.items() if title == table.title}
        columns = {name: today.get(name, name) for name in part.columns}
        kept = [name for name, new in columns.items() if self._is_kept(table, new)]
        if gone := [name for name in columns if name not in kept]:
            self.notes.append(f"{table.title} has no {', '.join(gone)} here: left out.")
        number = len(self.tables) + len(self.shared)
        name = sql.Identifier("pg_temp", f"staged_{number}")
        staged = Staged(table, name, [columns[each] for each in kept], part.rows)
        self.connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(
                sql.Identifier(f"staged_{number}"),
                sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(each), sql.SQL(table.by_name[each].type))
                    for each in staged.columns
                ),
            )
        )
        places = [list(part.columns).index(each) for each in kept]
        try:
            with (
                self.connection.cursor() as cursor,
                cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy,
            ):
                for count, row in enumerate(archive.rows(part), start=1):
                    copy.write_row([row[place] for place in places])
                    if count % 1_000 == 0:
                        progress.check()
                        progress.advance(1_000)
        except psycopg.DataError as error:
            raise damaged(f"{part.file}: {one_line(error)}") from None
        self.connection.execute(sql.SQL("ANALYZE {}").format(name))
        return staged

    @staticmethod
    def _is_kept(table: Table, column: str) -> bool:
        return column in table.by_name and not table.by_name[column].generated

    def _find_shared(self, key: Place, named_by: tuple[str, ...]) -> None:
        staged = self.shared[key[0]]
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in named_by
        )
        shown = sql.SQL(", ").join(sql.SQL("s.{}").format(sql.Identifier(n)) for n in named_by)
        missing = self.connection.execute(
            sql.SQL(
                "SELECT concat_ws(' ', {}) FROM {} AS s LEFT JOIN {} AS t ON {}"
                " WHERE t.{} IS NULL LIMIT {}"
            ).format(
                shown, staged.name, staged.table.sql, same,
                sql.Identifier(key[1]), sql.Literal(_SHOWN),
            )
        ).fetchall()  # fmt: skip
        if missing:
            raise RefusedError(
                f"{staged.table.title} has no {', '.join(text for (text,) in missing)} here, which "
                "the account uses. Nothing was imported. Make it here first."
            )
        self.connection.execute(
            sql.SQL(
                "INSERT INTO {keys} SELECT s.{key}, t.{key}, true FROM {staged} AS s JOIN {table}"
                " AS t ON {same}"
            ).format(
                keys=self.keys[key], key=sql.Identifier(key[1]), staged=staged.name,
                table=staged.table.sql, same=same,
            )
        )  # fmt: skip

    def _number(self, key: Place, contents: Contents) -> None:
        """Give new numbers to the rows, and to rows that are gone and that histories still name.

        A number that the archive merely names must never be that of somebody else's row here.
        """
        there = [
            sql.SQL("SELECT {}::bigint, true FROM {}").format(
                sql.Identifier(key[1]), self.tables[key[0]].name
            )
        ] if key[0] in self.tables else []  # fmt: skip
        named = [
            sql.SQL("SELECT {}::bigint, false FROM {}").format(
                sql.Identifier(column), self.tables[title].name
            )
            for (title, column), to in contents.meant.items()
            if to == key
            and (title, column) not in contents.mentions
            and title in self.tables
            and column in self.tables[title].columns
        ]
        if not (there or named):
            return
        self.connection.execute(
            sql.SQL(
                "INSERT INTO {keys}"
                " SELECT o.old, nextval(pg_get_serial_sequence({table}, {column})),"
                " o.is_there FROM (SELECT u.old, bool_or(u.is_there) AS is_there"
                " FROM ({parts}) AS u(old, is_there) WHERE u.old IS NOT NULL AND NOT EXISTS"
                " (SELECT FROM {keys} AS k WHERE k.old = u.old) GROUP BY 1 ORDER BY 1) AS o"
            ).format(
                keys=self.keys[key],
                table=sql.Literal(key[0]),
                column=sql.Literal(key[1]),
                parts=sql.SQL(" UNION ALL ").join([*there, *named]),
            )
        )
        self.connection.execute(sql.SQL("ANALYZE {}").format(self.keys[key]))
