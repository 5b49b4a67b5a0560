"""The difference of one table: which rows are missing, changed or extra, by their keys.

The keys and hashes of live rows go to the private server of the past, into temporary tables of the
session that asks: there they are joined, however many they are, and there the difference stays,
for statements to join with and for `rows` to read on demand. On the live server nothing is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql

from ops.backups.pinned import pin
from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.diff.both import reading, stoppable, told
from ops.restores.diff.buckets import bucket_count, differing
from ops.restores.diff.pairing import Pairing
from ops.restores.diff.sides import Side, Value, sides
from ops.restores.diff.travelling import carry_rows
from ops.restores.errors import RefusedError

# Names that no column of anybody has.
KIND, PAST_TABLE, PAST_ROW = "srvc_kind", "srvc_table", "srvc_row"
_HASH = sql.Identifier("srvc_hash")
_numbers = itertools.count(1)


class Kind(StrEnum):
    """How a row differs."""

    MISSING = "missing"  # the past has it, the live table has not
    CHANGED = "changed"
    EXTRA = "extra"  # the live table has it, the past had not


@dataclass(frozen=True)
class Chosen:
    """Only these rows are compared. Tables of the sessions, with the key under today's names."""

    past: sql.Identifier  # in the past's session: rows that are looked for on both sides
    live: sql.Identifier | None = None  # in the live session: rows that may be extra


@dataclass(frozen=True)
class TableDifference:
    """What differs in one table, as long as the past's session lasts."""

    pairing: Pairing
    live: Side
    past: Side
    # Temporary table of the past's session: KIND, the key under today's names, and where the row is
    # in the past (PAST_TABLE, PAST_ROW: tableoid and ctid), null for extra ones.
    found: sql.Identifier
    missing: int
    changed: int
    extra: int
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Its name of today, for people."""
        return ".".join(self.pairing.live)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.changed or self.extra)


def difference(
    live: Connection,
    past: Connection,
    pairing: Pairing,
    progress: Progress,
    *,
    chosen: Chosen | None = None,
) -> TableDifference:
    """Compare a table of the past with the live one, by key.

    Within a transaction of `live` that sees one moment, that moment is compared; it may not be a
    READ ONLY one when rows are chosen. The settings of the past's session stay pinned. Raises
    RefusedError where there is no key or no such table, RestoreError where a side can't be read,
    and CancelledError.
    """
    if not pairing.key:
        raise RefusedError(
            f"{'.'.join(pairing.live)} has no primary key, and no unique key without nulls, so "
            "its rows of the past and of today can't be paired. Nothing was changed."
        )
    name, table = f"difference_{next(_numbers)}", ".".join(pairing.live)
    with stoppable(progress, live, past), told(table):
        pin(past, local=False)  # a session of ours; what it makes has to outlive this
        here, there, notes = sides(live, past, pairing)
        work = _Work(live, past, here, there, name, table, progress)
        counts = work.by_choice(chosen) if chosen else work.by_buckets()
    return TableDifference(
        pairing,
        here,
        there,
        sql.Identifier(name),
        counts.get(Kind.MISSING, 0),
        counts.get(Kind.CHANGED, 0),
        counts.get(Kind.EXTRA, 0),
        tuple(notes),
    )


@dataclass(frozen=True)
class _Work:
    live: Connection
    past: Connection
    here: Side
    there: Side
    name: str
    table: str  # for people
    progress: Progress

    def by_buckets(self) -> dict[str, int]:
        """Compare whole tables: coarsely first, unless they are small."""
        count = bucket_count(self.here, self.there)
        condition: sql.Composable = sql.SQL("")
        other: sql.Composable = sql.SQL("")
        if count > 1:
            bits = differing(self.live, self.past, self.here, self.there, count)
            self.progress.check()
            looked_at = sum(byte.bit_count() for byte in bits)
            if looked_at * 2 < count:
                condition = _in_buckets(self.here, bits, count)
                other = _in_buckets(self.there, bits, count)
        return self._compare(condition, other)

    def by_choice(self, chosen: Chosen) -> dict[str, int]:
        """Compare the chosen rows: they are looked up by their keys."""
        carried = sql.Identifier(f"{self.name}_chosen")
        with reading(self.live):
            self.live.execute(_empty(carried, self.here.key))
            carry_rows(
                self.past,
                sql.SQL("SELECT {} FROM {} r").format(_cast(self.there.key), chosen.past),
                self.live,
                carried,
                self.progress,
            )
            if chosen.live is not None:
                self.live.execute(
                    sql.SQL("INSERT INTO {} SELECT {} FROM {} r").format(
                        carried, _cast(self.here.key), chosen.live
                    )
                )
            self.live.execute(sql.SQL("ANALYZE {}").format(carried))
            return self._compare(
                _among(self.here.key, carried), _among(self.there.key, chosen.past), looked_up=True
            )

    def _compare(
        self, here: sql.Composable, there: sql.Composable, *, looked_up: bool = False
    ) -> dict[str, int]:
        """Bring keys and hashes of live rows over, and join them."""
        name, keys = sql.Identifier(self.name), sql.Identifier(f"{self.name}_live")
        self.past.execute(_empty(keys, self.there.key, hashed=True))
        try:
            with reading(self.live):
                carry_rows(
                    self.live,
                    sql.SQL("SELECT {}, {} FROM {} r {}").format(
                        _listed(self.here.key), self.here.hash, self.here.relation, here
                    ),
                    self.past,
                    keys,
                    self.progress,
                )
            self.past.execute(sql.SQL("ANALYZE {}").format(keys))
            if looked_up:  # what was chosen of today may be in the past as well
                there = sql.SQL("{} OR {}").format(there, _is_among(self.there.key, keys))
            self._require_unique(there)
            return self._join(name, keys, there)
        finally:
            # A session that was lost has none.
            if not self.past.closed and not self.past.broken:
                self.past.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(keys))

    def _require_unique(self, condition: sql.Composable) -> None:
        """Refuse a key of today that tells rows of the past not apart."""
        row = self.past.execute(
            sql.SQL(
                "SELECT count(*) FROM (SELECT FROM {} r {} GROUP BY {} HAVING count(*) > 1) d"
            ).format(
                self.there.relation,
                condition,
                sql.SQL(", ").join(each.read for each in self.there.key),
            )
        ).fetchone()
        if row and row[0]:
            raise RefusedError(
                f"{row[0]:,} {'key' if row[0] == 1 else 'keys'} of {self.table} is there more than "
                "once in the backup, so its rows can't be paired with those of today. Nothing was "
                "changed. Restore the backup beside (`manage.py restore BACKUP --as NAME`) and "
                "take what you need from there."
            )

    def _join(
        self, name: sql.Identifier, keys: sql.Identifier, condition: sql.Composable
    ) -> dict[str, int]:
        key = self.there.key
        query = sql.SQL(
            "CREATE TEMPORARY TABLE {name} AS"
            " SELECT CASE WHEN l.{hash} IS NULL THEN 'missing' WHEN p.{hash} IS NULL THEN 'extra'"
            " ELSE 'changed' END AS {kind}, {key}, p.{past_table}, p.{past_row}"
            " FROM (SELECT {past_key}, {past_hash} AS {hash}, r.tableoid AS {past_table},"
            " r.ctid AS {past_row} FROM {past} r {condition}) p"
            " FULL JOIN {keys} l ON {same} WHERE p.{hash} IS DISTINCT FROM l.{hash}"
        ).format(
            name=name,
            hash=_HASH,
            kind=sql.Identifier(KIND),
            past_table=sql.Identifier(PAST_TABLE),
            past_row=sql.Identifier(PAST_ROW),
            key=sql.SQL(", ").join(
                sql.SQL("coalesce(p.{0}, l.{0}) AS {0}").format(sql.Identifier(each.name))
                for each in key
            ),
            past_key=_listed(key),
            past_hash=self.there.hash,
            past=self.there.relation,
            condition=condition,
            keys=keys,
            same=sql.SQL(" AND ").join(
                sql.SQL("p.{0} = l.{0}").format(sql.Identifier(each.name)) for each in key
            ),
        )
        self.past.execute(query)
        counted = sql.SQL("SELECT {0}, count(*) FROM {1} GROUP BY 1")
        rows = self.past.execute(counted.format(sql.Identifier(KIND), name)).fetchall()
        return {str(kind): int(count) for kind, count in rows}


def _empty(name: sql.Identifier, key: Sequence[Value], *, hashed: bool = False) -> sql.Composed:
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(each.name), sql.SQL(each.exact_type)) for each in key
    ]
    if hashed:
        columns.append(sql.SQL("{} bigint").format(_HASH))
    return sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(name, sql.SQL(", ").join(columns))


def _listed(key: Sequence[Value]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(each.read, sql.Identifier(each.name)) for each in key
    )


def _cast(key: Sequence[Value]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.Identifier("r", each.name), sql.SQL(each.exact_type))
        for each in key
    )


def _in_buckets(side: Side, bits: bytes, count: int) -> sql.Composed:
    return sql.SQL("WHERE get_bit({}::bytea, {}) = 1").format(
        sql.Literal("\\x" + bits.hex()), side.bucket(count)
    )


def _among(key: Sequence[Value], chosen: sql.Identifier) -> sql.Composed:
    return sql.SQL("WHERE {}").format(_is_among(key, chosen))


def _is_among(key: Sequence[Value], chosen: sql.Identifier) -> sql.Composed:
    """The rows whose keys are in a table of the session."""
    same = [sql.SQL("{} = c.{}").format(each.read, sql.Identifier(each.name)) for each in key]
    return sql.SQL("EXISTS (SELECT FROM {} c WHERE {})").format(chosen, sql.SQL(" AND ").join(same))
