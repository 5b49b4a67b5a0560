"""Tables, indexes and references of a database, read once and asked by many checks.

Without what belongs to the server, to extensions and to sessions. Statistics are those of the
server's collector; sizes are read with them, for they cost a look at each file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from psycopg.errors import LockNotAvailable

from ops.postgres.endpoint import Connection

# Sessions' and the server's own; nobody's tables.
NOT_OURS = (
    "n.nspname !~ '^pg_(toast|temp)' AND n.nspname NOT IN ('pg_catalog','information_schema')"
)
_NOT_AN_EXTENSIONS = """NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = c.oid
    AND e.classid = 'pg_class'::regclass AND e.deptype = 'e')"""


@dataclass(frozen=True)
class Table:
    """A table, a partitioned table or a materialized view."""

    oid: int
    schema: str
    name: str
    kind: str  # relkind: r, p, m
    is_partition: bool
    rows: float  # as the planner estimates; -1: never counted
    live_rows: int
    dead_rows: int
    size: int  # bytes, with indexes and TOAST
    heap_size: int  # bytes of the table alone
    sequential_scans: int
    sequential_rows: int
    index_scans: int
    row_security: bool
    forced: bool
    owner: str
    options: tuple[str, ...]

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Index:
    """An index of a table."""

    oid: int
    table: int
    schema: str
    name: str
    method: str
    columns: tuple[int, ...]  # attribute numbers of the key, 0 for an expression
    included: tuple[int, ...]
    classes: tuple[int, ...]  # operator classes of the key
    collations: tuple[int, ...]
    directions: tuple[int, ...]  # DESC and NULLS FIRST, as bits
    expressions: str  # deparsed, "" for none
    predicate: str
    is_unique: bool
    is_primary: bool
    is_valid: bool
    is_ready: bool
    backs_constraint: bool
    scans: int
    size: int  # bytes
    definition: str
    # Whether uniqueness is looked at row by row, or, when deferrable, by the end of a transaction.
    is_immediate: bool
    nulls_not_distinct: bool
    options: tuple[str, ...]  # storage parameters, and those of its operator classes
    # By what it is needed whatever queries read: CLUSTER, logical replication, foreign keys.
    is_clustered: bool
    is_replica_identity: bool
    is_referenced: bool

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class ForeignKey:
    """A reference from one table to another."""

    oid: int
    name: str
    table: int
    target: int
    columns: tuple[int, ...]
    target_columns: tuple[int, ...]
    is_valid: bool
    definition: str


@dataclass(frozen=True)
class Catalogue:
    """What there is."""

    tables: dict[int, Table]
    indexes: dict[int, Index]
    foreign_keys: dict[int, ForeignKey]
    columns: dict[int, dict[int, str]]  # of each table: name by number
    # Tables and indexes that another session had locked: their sizes are those of the last VACUUM,
    # and what their indexes are made of is not known.
    locked: tuple[str, ...] = ()

    @classmethod
    def read(cls, connection: Connection) -> Catalogue:
        """Read it, by four queries. Needs no right on the tables themselves.

        Sizes and definitions need a lock. Whoever has one keeps nobody from the rest.
        """
        try:
            with connection.transaction():
                return cls._read(connection, [])
        except LockNotAvailable:
            locked: dict[int, str] = dict(connection.execute(_LOCKED).fetchall())
            return cls._read(connection, list(locked), tuple(sorted(set(locked.values()))))

    @classmethod
    def _read(
        cls, connection: Connection, locked: list[int], titles: tuple[str, ...] = ()
    ) -> Catalogue:
        known = {"locked": locked}
        indexes = {row[0]: _index(row) for row in connection.execute(_INDEXES, known)}
        # Asked for a table's size with its indexes, the server would look at each of them again.
        sizes, scans = Counter[int](), Counter[int]()
        for index in indexes.values():
            sizes[index.table] += index.size
            scans[index.table] += index.scans
        return cls(
            {
                row[0]: _table(row, sizes[row[0]], scans[row[0]])
                for row in connection.execute(_TABLES, known)
            },
            indexes,
            {row[0]: _foreign_key(row) for row in connection.execute(_FOREIGN_KEYS)},
            _columns(connection),
            titles,
        )

    @cached_property
    def indexes_of(self) -> dict[int, list[Index]]:
        """The indexes of each table."""
        found: dict[int, list[Index]] = defaultdict(list)
        for index in self.indexes.values():
            found[index.table].append(index)
        return found

    def column_names(self, table: int, numbers: tuple[int, ...]) -> list[str]:
        """The names of a table's columns."""
        known = self.columns.get(table, {})
        return [known.get(number, "?") for number in numbers]


def _table(row: tuple[Any, ...], size_of_indexes: int, index_scans: int) -> Table:
    *first, size, heap_size, scans, read, row_security, forced, owner, options = row
    values: list[Any] = [
        *first, size + size_of_indexes, heap_size, scans, read, index_scans,
        row_security, forced, owner, tuple(options),
    ]  # fmt: skip
    return Table(*values)


def _index(row: tuple[Any, ...]) -> Index:
    # Arrays come as lists, and are compared and hashed.
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return Index(*values)


def _foreign_key(row: tuple[Any, ...]) -> ForeignKey:
    oid, name, table, target, columns, target_columns, is_valid, definition = row
    return ForeignKey(
        oid, name, table, target, tuple(columns), tuple(target_columns), is_valid, definition
    )


def _columns(connection: Connection) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for table, number, name in connection.execute(_COLUMNS):
        found[table][number] = name
    return found


_BLOCK = "current_setting('block_size')::bigint"

# Whoever waits for such a lock keeps others from the table already. A table is as closed as the
# indexes and the TOAST table that count for its size.
_LOCKED = f"""
    SELECT c.oid::bigint, n.nspname || '.' || c.relname
    FROM pg_locks l
    LEFT JOIN pg_index i ON i.indexrelid = l.relation
    JOIN pg_class c ON c.oid IN (l.relation, i.indrelid) OR c.reltoastrelid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND {NOT_OURS}
"""  # noqa: S608 (constants)

# Sizes by pg_class's pages would be of the last VACUUM; a dropped file gives NULL, not an error.
_TABLES = f"""
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition,
        c.reltuples::float8, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid),
        CASE WHEN c.oid = ANY (%(locked)s) THEN c.relpages * {_BLOCK}
            ELSE coalesce(pg_table_size(c.oid), 0) END,
        CASE WHEN c.oid = ANY (%(locked)s) THEN c.relpages * {_BLOCK}
            ELSE coalesce(pg_relation_size(c.oid), 0) END,
        pg_stat_get_numscans(c.oid), pg_stat_get_tuples_returned(c.oid),
        c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner)::text,
        coalesce(c.reloptions, '{{}}')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND {NOT_OURS} AND {_NOT_AN_EXTENSIONS}
    ORDER BY n.nspname, c.relname
"""  # noqa: S608 (constants)

_INDEXES = f"""
    SELECT i.indexrelid::bigint, i.indrelid::bigint, n.nspname::text, x.relname::text,
        m.amname::text,
        (i.indkey::int2[])[0:i.indnkeyatts - 1], (i.indkey::int2[])[i.indnkeyatts:],
        i.indclass::oid[]::bigint[], i.indcollation::oid[]::bigint[], i.indoption::int2[],
        CASE WHEN i.indexprs IS NULL THEN '' WHEN k.locked THEN '? of ' || i.indexrelid
            ELSE pg_get_expr(i.indexprs, i.indrelid) END,
        CASE WHEN i.indpred IS NULL THEN '' WHEN k.locked THEN '? of ' || i.indexrelid
            ELSE pg_get_expr(i.indpred, i.indrelid) END,
        i.indisunique, i.indisprimary, i.indisvalid, i.indisready,
        EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid
                AND o.contype IN ('p', 'u', 'x')),
        coalesce(pg_stat_get_numscans(i.indexrelid), 0),
        CASE WHEN k.locked THEN x.relpages * {_BLOCK}
            ELSE coalesce(pg_relation_size(i.indexrelid), 0) END,
        CASE WHEN k.locked THEN '' ELSE pg_get_indexdef(i.indexrelid) END,
        i.indimmediate, i.indnullsnotdistinct,
        -- Minor releases may stamp columns with marks of their own, which are no option.
        coalesce(x.reloptions, '{{}}') || ARRAY(
            SELECT a.attnum || ' ' || option FROM pg_attribute a, unnest(a.attoptions) AS option
            WHERE a.attrelid = x.oid AND NOT starts_with(option, 'pg_') ORDER BY 1),
        i.indisclustered, i.indisreplident,
        EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass
                AND d.refobjid = i.indexrelid AND d.deptype = 'n')
    FROM pg_index i
    CROSS JOIN LATERAL (
        SELECT ARRAY[i.indexrelid, i.indrelid] && (%(locked)s)::oid[] AS locked) k
    JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_am m ON m.oid = x.relam
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND {NOT_OURS} AND {_NOT_AN_EXTENSIONS}
    ORDER BY n.nspname, x.relname
"""  # noqa: S608 (constants)

# Those of partitions are their parent's, and are looked at there.
_FOREIGN_KEYS = f"""
    SELECT k.oid::bigint, k.conname::text, k.conrelid::bigint, k.confrelid::bigint,
        k.conkey, k.confkey, k.convalidated, pg_get_constraintdef(k.oid)
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relpersistence <> 't'
      AND {NOT_OURS} AND {_NOT_AN_EXTENSIONS}
    ORDER BY n.nspname, c.relname, k.conname
"""  # noqa: S608 (constants)

_COLUMNS = f"""
    SELECT a.attrelid::bigint, a.attnum, a.attname::text
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped
      AND c.relpersistence <> 't' AND {NOT_OURS}
"""  # noqa: S608 (constants)
