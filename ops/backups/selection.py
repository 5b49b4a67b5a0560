"""Which tables a backup takes, by the rules of `pg_dump --table`.

Unquoted letters fold to lower case, `*` and `?` are wildcards, quotes keep a part as it is, a dot
separates schema and name, and a name without a schema means what the login itself would find.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from ops.backups.errors import BackupError
from ops.backups.pinned import Connection

_REGEX_SPECIALS = frozenset("|*+?()[]{}.^$\\")


@dataclass(frozen=True)
class Table:
    """A table as it stood when it was listed."""

    schema: str
    name: str
    kind: str  # table, partition; partitioned: no rows of its own; large objects: all of them
    oid: int

    @property
    def pattern(self) -> str:
        """The one pattern of `pg_dump --table` that means this table and no other."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))


# All of a database's large objects: dumped besides the tables, proven as if they were one.
LARGE_OBJECTS = Table("pg_catalog", "pg_largeobject", "large objects", 2613)


def all_tables(connection: Connection) -> list[Table]:
    """Return what pg_dump would dump, in its order; extensions' own tables come with them."""
    return [Table(*row) for row in connection.execute(_TABLES).fetchall()]


def select_tables(connection: Connection, patterns: Sequence[str]) -> list[Table]:
    """Return the tables that the patterns name, with their children; all, without patterns.

    A partitioned table without its partitions would be a backup without rows. Raises BackupError
    for a pattern that names no table.
    """
    tables = all_tables(connection)
    if not patterns:
        return tables
    wanted: set[int] = set()
    for pattern in patterns:
        matching = _matching(connection, pattern)
        if not matching & {table.oid for table in tables}:
            raise BackupError(_unknown(pattern, tables))
        wanted |= matching
    wanted |= {oid for (oid,) in connection.execute(_CHILDREN, [list(wanted)]).fetchall()}
    return [table for table in tables if table.oid in wanted]


def regexes(pattern: str) -> tuple[str | None, str]:
    """Return the regular expressions of the schema and of the name in a pattern.

    Raises BackupError for a pattern of more than two parts or with a quote left open.
    """
    parts, quoted, index = [""], False, 0
    while index < len(pattern):
        letter = pattern[index]
        following = pattern[index + 1 : index + 2]
        index += 1
        if letter == '"':
            if quoted and following == '"':
                parts[-1] += '"'
                index += 1
            else:
                quoted = not quoted
        elif letter == "." and not quoted:
            parts.append("")
        else:
            parts[-1] += _quoted(letter) if quoted else _unquoted(letter, following)
    if quoted or len(parts) > 2 or not parts[-1]:
        raise BackupError(
            f"{pattern!r} is no table's name. Nothing was taken. Write NAME or SCHEMA.NAME, with "
            'double quotes around capitals and dots that belong to a name ("My table").'
        )
    whole = [f"^({part})$" for part in parts]
    return (whole[0] if len(whole) == 2 else None), whole[-1]


def _quoted(letter: str) -> str:
    return f"\\{letter}" if letter in _REGEX_SPECIALS else letter


def _unquoted(letter: str, following: str) -> str:
    if letter in "*?$":
        return {"*": ".*", "?": ".", "$": "\\$"}[letter]
    # An array type's name, in psql; never the start of an empty set of letters.
    if letter == "[" and following == "]":
        return "\\["
    return letter.lower() if letter.isascii() else letter


def _matching(connection: Connection, pattern: str) -> set[int]:
    schema, name = regexes(pattern)
    try:
        found = connection.execute(_MATCHING, {"schema": schema, "name": name}).fetchall()
    except psycopg.errors.InvalidRegularExpression as error:
        raise BackupError(
            f"{pattern!r} is no pattern of tables' names ({error.diag.message_primary}). Nothing "
            "was taken. Put double quotes around a name with special characters."
        ) from error
    return {oid for (oid,) in found}


def _unknown(pattern: str, tables: list[Table]) -> str:
    names = {table.name: table for table in tables}
    names |= {f"{table.schema}.{table.name}": table for table in tables}
    near = difflib.get_close_matches(pattern.replace('"', ""), names, n=5, cutoff=0.6)
    listed = ", ".join(dict.fromkeys(f"{names[n].schema}.{names[n].name}" for n in near))
    hint = f"Near it: {listed}." if near else "`psql -c '\\dt *.*'` lists all tables."
    return f"There is no table {pattern!r}. Nothing was taken. {hint}"


_TABLES = """
    SELECT n.nspname, c.relname,
           CASE WHEN c.relkind = 'p' THEN 'partitioned'
                WHEN c.relispartition THEN 'partition' ELSE 'table' END,
           c.oid::int8
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
          AND c.oid <> ALL (coalesce(e.extconfig, '{}')))
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

_MATCHING = """
    SELECT c.oid::int8
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND c.relname ~ %(name)s COLLATE pg_catalog.default
      AND CASE WHEN %(schema)s::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
          ELSE n.nspname ~ %(schema)s COLLATE pg_catalog.default END
"""

_CHILDREN = """
    WITH RECURSIVE family(oid) AS (
        SELECT unnest(%s::int8[])::oid
        UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON f.oid = i.inhparent)
    SELECT oid::int8 FROM family
"""
