"""Which tables hold an account's rows, and what each of their columns names. By the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.utils.module_loading import import_string
from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.postgres.roles import MEMBER
from ops.restores.errors import RefusedError
from ops.restores.partial.shape import (
    Reference,
    Table,
    equal,
    link_references,
    references_of,
    tables_of,
)
from ops.restores.subjects import Link, links

Place = tuple[str, str]  # table and column

# A row is an account's by one of its columns.
_BY_COLUMN = re.compile(
    r'^\(?(?P<column>[a-z_][a-z0-9_]*|"(?:[^"]|"")+") = \( ?SELECT .*app\.account_id', re.DOTALL
)
_POLICIES = """
    SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname),
        pg_catalog.pg_get_expr(p.polqual, p.polrelid)
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relrowsecurity AND p.polpermissive AND p.polcmd IN ('r', '*')
      AND %s::regrole = ANY (p.polroles)
"""
# Unique columns that are no key: what people know the row by on another server too.
_NAMED_BY = """
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a
      ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = %s::regclass AND i.indisunique AND NOT i.indisprimary AND i.indisvalid
      AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid
    HAVING bool_and(a.attnotnull AND a.atttypid = ANY ('{text,varchar,bpchar}'::regtype[]))
    ORDER BY i.indexrelid LIMIT 1
"""


@dataclass(frozen=True)
class Owned:
    """A table that holds rows of accounts."""

    table: Table
    account_column: str  # which names the account; "" where rows hang on others
    condition: sql.Composable  # of the account %(account)s, on the alias r
    is_history: bool

    @property
    def title(self) -> str:
        """Its name."""
        return self.table.title


@dataclass(frozen=True)
class Contents:
    """What an account is made of."""

    owned: Mapping[str, Owned]
    meant: Mapping[Place, Place]  # from columns to the key whose values they hold
    shared: Mapping[str, tuple[str, ...]]  # tables of everybody that rows name, and their names
    mentions: frozenset[Place]  # columns that name a row without needing it

    @cached_property
    def fresh(self) -> frozenset[Place]:
        """Keys of the account's rows that a sequence gives out: another server has them taken."""
        return frozenset(key for key in self.meant.values() if key[0] in self.owned)


def contents_of(connection: Connection) -> Contents:
    """Return what accounts are made of in a database.

    Raises RefusedError for a row of everybody that an account's row names and that has no name.
    """
    tables = tables_of(connection)
    references = references_of(connection)
    told = [*references, *link_references(links())]
    owned = {each.title: each for each in _owned(connection, tables, references)}
    found = _Meaning(tables, told)
    meant: dict[Place, Place] = {}
    for title in owned:
        for column in tables[title].columns:
            key = found.key((title, column.name))
            if key is not None:
                meant[title, column.name] = key
    shared = {
        title: _named_by(connection, title)
        for title in sorted({title for title, _ in meant.values()} - set(owned))
    }
    mentions: list[Link] = [
        link for path in settings.RECOVERY_MENTIONS for link in import_string(path)()
    ]
    for link in mentions:
        for place, to in zip(link.columns, link.to_columns, strict=True):
            key = found.key((link.to_table, to))
            if key is not None and link.table in owned:
                meant[link.table, place] = key
    return Contents(
        owned,
        meant,
        shared,
        frozenset((link.table, column) for link in mentions for column in link.columns),
    )


class _Meaning:
    """Follows columns to the keys whose values they hold."""

    def __init__(self, tables: Mapping[str, Table], references: list[Reference]) -> None:
        self._tables = tables
        self._of = {title: [each for each in references if each.table == title] for title in tables}

    def key(self, place: Place, passed: frozenset[Place] = frozenset()) -> Place | None:
        """Return the key, given out by a sequence, that a column's values come from."""
        table = self._tables.get(place[0])
        if table is None or place in passed or place[1] not in table.by_name:
            return None
        column = table.by_name[place[1]]
        counted = column.identity or "nextval(" in (column.default or "")
        if table.key == (column.name,) and counted:
            return place
        for each in self._of[table.title]:
            for ours, theirs in zip(each.columns, each.to_columns, strict=True):
                to = theirs if ours == column.name else column.name if each.is_history else None
                found = to and self.key((each.to_table, to), passed | {place})
                if found:
                    return found
        return None


def _owned(
    connection: Connection, tables: Mapping[str, Table], references: list[Reference]
) -> Iterator[Owned]:
    left_out = set(settings.ACCOUNT_ARCHIVE_LEAVES_OUT)
    histories = {each.table for each in link_references(links()) if each.is_history}
    found: dict[str, Owned] = {}
    for title, qualification in connection.execute(_POLICIES, [MEMBER]).fetchall():
        match = _BY_COLUMN.match(qualification or "")
        if match is None or title in left_out or title not in tables:
            continue
        column = match["column"].strip('"').replace('""', '"')
        condition = sql.SQL("r.{} = %(account)s").format(sql.Identifier(column))
        found[title] = Owned(tables[title], column, condition, title in histories)
    fresh = dict(found)
    while fresh:
        level, fresh = fresh, {}
        for each in references:
            parent = level.get(each.to_table)
            if parent is None or each.table in found or each.table in left_out:
                continue
            condition = sql.SQL(
                "EXISTS (SELECT FROM {parent} AS p WHERE {same} AND {condition})"
            ).format(
                parent=parent.table.rows,
                same=equal("p", each.to_columns, "r", each.columns),
                condition=_on_parent(parent),
            )
            fresh[each.table] = Owned(tables[each.table], "", condition, each.table in histories)
        found |= fresh
    for title in sorted(found):
        yield found[title]


def _on_parent(parent: Owned) -> sql.Composable:
    if parent.account_column:
        return sql.SQL("p.{} = %(account)s").format(sql.Identifier(parent.account_column))
    # The condition speaks of r: one level deeper that has to be the parent.
    return sql.SQL("EXISTS (SELECT FROM {} AS r WHERE {} AND {})").format(
        parent.table.rows,
        equal("r", parent.table.key, "p", parent.table.key),
        parent.condition,
    )


def _named_by(connection: Connection, title: str) -> tuple[str, ...]:
    row = connection.execute(_NAMED_BY, [title]).fetchone()
    if row is None:
        raise RefusedError(
            f"Rows of accounts name rows of {title}, which have no name that another server would "
            "know. Nothing was done. Name the table that does so in ACCOUNT_ARCHIVE_LEAVES_OUT."
        )
    return tuple(row[0])
