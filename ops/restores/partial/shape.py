"""What a database's tables look like: columns, keys, and who refers to whom. By the catalog alone.

Tables go by the name that PostgreSQL's own format('%I.%I') gives them: public.invoices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from psycopg import sql
from psycopg.sql import Composed

from ops.backups.pinned import pin
from ops.postgres.endpoint import Connection
from ops.restores.subjects import Link

HISTORY_COLUMN = "pgh_id"


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str  # as format_type writes it, with its schema
    not_null: bool
    generated: bool
    identity: bool
    default: str | None


@dataclass(frozen=True)
class Table:
    """One table: a partitioned one with its partitions, which are no tables of their own here."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # columns of the primary key, else of a unique key without nulls; or none
    title: str = field(compare=False)  # public.invoices, quoted where SQL needs it
    is_partitioned: bool = field(default=False, compare=False)

    @property
    def sql(self) -> sql.Identifier:
        """Its name in a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def rows(self) -> Composed:
        """Its rows in a statement: with those of its partitions, without those of its children."""
        return sql.SQL("{}" if self.is_partitioned else "ONLY {}").format(self.sql)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Its columns by their names."""
        return {column.name: column for column in self.columns}

    @property
    def stored(self) -> list[str]:
        """Names of the columns that are written, not computed."""
        return [column.name for column in self.columns if not column.generated]


@dataclass(frozen=True)
class Reference:
    """Columns of one table that name a row of another."""

    name: str
    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    declared: bool = True  # a foreign key, which PostgreSQL itself keeps
    is_history: bool = False
    condition: str = ""  # on the alias r
    on_delete: str = "a"  # as the catalog has it: a no action, r restrict, c cascade, n, d
    is_partitioned: bool = False
    to_is_partitioned: bool = False

    @property
    def rows(self) -> sql.Composed:
        """The rows of its table in a statement, as `Table.rows` has them."""
        return _rows(self.table, self.is_partitioned)

    @property
    def to_rows(self) -> sql.Composed:
        """The rows of the table that it names one of."""
        return _rows(self.to_table, self.to_is_partitioned)


def _rows(title: str, is_partitioned: bool) -> sql.Composed:
    return sql.SQL("{}" if is_partitioned else "ONLY {}").format(sql.SQL(title))


_THOSE = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass
        AND m.objid = c.oid AND m.deptype = 'e')
"""
_TITLES = f"SELECT format('%I.%I', n.nspname, c.relname) {_THOSE}"
_TABLES = """
    SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname),
      coalesce((SELECT array_agg(ARRAY[a.attname::text,
          format_type(a.atttypid, a.atttypmod),
          (a.attnotnull OR t.typnotnull)::text, (a.attgenerated <> '')::text,
          (a.attidentity <> '')::text,
          CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END]
          ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
      coalesce((SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM (SELECT i.indkey, i.indnkeyatts FROM pg_index i
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
            AND i.indpred IS NULL AND i.indexprs IS NULL
            AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid
              AND o.attnum = ANY ((i.indkey::int2[])[:i.indnkeyatts - 1]) AND NOT o.attnotnull)
          ORDER BY i.indisprimary DESC, i.indisreplident DESC, i.indexrelid LIMIT 1) AS best,
        LATERAL unnest(best.indkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE k.place <= best.indnkeyatts), '{}'),
      c.relkind = 'p'
"""
_REFERENCES = """
    SELECT k.conname, format('%I.%I', fn.nspname, fc.relname),
      (SELECT array_agg(a.attname::text ORDER BY x.place)
       FROM unnest(k.conkey) WITH ORDINALITY AS x(number, place)
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number),
      format('%I.%I', tn.nspname, tc.relname),
      (SELECT array_agg(a.attname::text ORDER BY x.place)
       FROM unnest(k.confkey) WITH ORDINALITY AS x(number, place)
       JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.number),
      k.confdeltype::text
    FROM pg_constraint k
    -- A key of, or to, a partition alone counts as one of the whole table.
    JOIN pg_class fc ON fc.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
    JOIN pg_namespace fn ON fn.oid = fc.relnamespace
    JOIN pg_class tc ON tc.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)
    JOIN pg_namespace tn ON tn.oid = tc.relnamespace
    -- What partitions have of it by themselves has the parent's.
    WHERE k.contype = 'f' AND k.conparentid = 0
      AND fc.relkind IN ('r', 'p') AND tc.relkind IN ('r', 'p')
    ORDER BY 2, 1
"""


def titles_of(connection: Connection) -> set[str]:
    """Return the names of a database's tables, which is quicker than all about them."""
    return {title for (title,) in connection.execute(_TITLES).fetchall()}


def tables_of(connection: Connection) -> dict[str, Table]:
    """Return the tables of a database, by their names."""
    with connection.transaction(force_rollback=True):
        pin(connection, local=True)
        rows = connection.execute(_TABLES + _THOSE).fetchall()
    return {
        title: Table(
            schema,
            name,
            tuple(_column(each) for each in columns),
            tuple(key),
            title,
            is_partitioned,
        )
        for schema, name, title, columns, key, is_partitioned in rows
    }


def _column(facts: list[str]) -> Column:
    name, kind, not_null, generated, identity, default = facts
    return Column(name, kind, not_null == "true", generated == "true", identity == "true", default)


def references_of(connection: Connection) -> list[Reference]:
    """Return the foreign keys of a database."""
    rows = connection.execute(_REFERENCES).fetchall()
    return [
        Reference(name, table, tuple(columns), to, tuple(to_columns), on_delete=on_delete)
        for name, table, columns, to, to_columns, on_delete in rows
    ]


def link_references(links: Iterable[Link]) -> list[Reference]:
    """Return the references that the upper apps tell of."""
    return [
        Reference(
            f"link of {link.table}",
            link.table,
            link.columns,
            link.to_table,
            link.to_columns,
            declared=False,
            is_history=link.is_history,
            condition=link.condition,
        )
        for link in links
    ]


def names(columns: Iterable[str], alias: str = "") -> sql.Composed:
    """Return columns as a list of a statement, of an alias if one is given."""
    parts = [sql.Identifier(alias, each) if alias else sql.Identifier(each) for each in columns]
    return sql.SQL(", ").join(parts)


def equal(
    left: str, left_columns: Iterable[str], right: str, right_columns: Iterable[str]
) -> sql.Composed:
    """Return the condition that columns of two aliases are equal, and so not null."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, one), sql.Identifier(right, other))
        for one, other in zip(left_columns, right_columns, strict=True)
    )
