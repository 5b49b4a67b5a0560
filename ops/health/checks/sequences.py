"""Sequences that give numbers which are taken, or that soon have none left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from ops.health.catalogue import NOT_OURS, Table
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.health.quoting import literal, quoted
from ops.health.steps import reading
from ops.health.steps import together as in_one
from ops.health.turns import Turn, take_turns
from ops.models import Area, Severity

_SECONDS = 0.08
# Less than this share of the numbers left, and the site stops soon.
_CRITICAL_SHARE = 0.99
# Sequences that one statement reads: each takes a lock, of which a transaction has some thousands.
_AT_ONCE = 200
_MOST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}

# Sequences with the column they number: their own (serial, identity), or any that takes its default
# from them.
_SEQUENCES = f"""
    WITH used AS (
        SELECT objid AS sequence, refobjid AS relation, refobjsubid AS number FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
          AND deptype IN ('a', 'i') AND refobjsubid > 0
        UNION
        SELECT e.refobjid, d.adrelid, d.adnum FROM pg_depend e
        JOIN pg_attrdef d ON d.oid = e.objid
        WHERE e.classid = 'pg_attrdef'::regclass AND e.refclassid = 'pg_class'::regclass
          AND e.deptype = 'n'
    )
    SELECT n.nspname::text, c.relname::text, q.seqincrement, q.seqmin, q.seqmax, q.seqcycle,
        has_sequence_privilege(c.oid, 'SELECT'),
        u.relation::bigint, a.attname::text, format_type(a.atttypid, NULL)
    FROM pg_sequence q
    JOIN pg_class c ON c.oid = q.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN used u ON u.sequence = c.oid
    LEFT JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.number
    WHERE c.relpersistence <> 't' AND {NOT_OURS}
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
    ORDER BY 1, 2, u.relation, u.number
"""  # noqa: S608 (constants)


@dataclass(frozen=True)
class Numbering:
    """A sequence, and a column that it numbers if there is one."""

    schema: str
    name: str
    increment: int
    least: int
    most: int
    cycles: bool
    is_readable: bool
    table: Table | None
    column: str
    type: str  # of the column
    last: int | None  # None: not asked for a number yet, or not to be read
    following: int  # the number it gives next; 0 when it may not be read

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql_name(self) -> str:
        """As SQL wants it."""
        return quoted(self.schema, self.name)

    @property
    def subject(self) -> str:
        """What it is about."""
        return f"table {self.table.title}" if self.table else f"sequence {self.title}"


def _showing(role: str, sequence: Numbering) -> str:
    """What shows a sequence, and the table that it is compared with."""
    table = sequence.table
    steps = [reading(role, (sequence.schema, sequence.name), kind="SEQUENCE")]
    if table is not None:
        steps.append(reading(role, (table.schema, table.name)))
    return in_one(steps)


@check(Area.INTEGRITY, "Sequences that are behind or near their end", limit=1.0, every=HOURLY)
def sequences(context: Context) -> Iterator[Reported]:
    """A sequence behind the highest number in its column gives numbers that are taken, and rows
    can't be inserted; that happens after rows were loaded with their numbers. One at the end of its
    type gives none at all, for ever.
    """
    found = _read(context)
    for each in found:
        if not each.is_readable:
            context.blind(
                f"The sequence {each.title} may not be read.",
                _showing(context.facts.role, each),
            )
        yield from _near_its_end(each, context.limits.sequence_share)
    known = {
        _key(each, each.table): (each, each.table)
        for each in found
        if each.table and each.is_readable
    }

    def together(keys: Sequence[str]) -> Iterator[str]:
        some = [known[key] for key in keys]
        asked = " UNION ALL ".join(
            f"SELECT {number} WHERE {_is_taken(*each)}" for number, each in enumerate(some)
        )
        return (keys[row[0]] for row in context.rows(sql.SQL(asked)))

    yield from take_turns(
        context,
        "sequences",
        [_turn(context, *each) for each in known.values()],
        together=together,
        seconds=_SECONDS,
        days=context.limits.orphans_days,
        noun="sequences",
    )


def _read(context: Context) -> list[Numbering]:
    rows = context.rows(_SEQUENCES)
    states = _states(context, sorted({quoted(*row[:2]) for row in rows if row[6]}))
    found = []
    for row in rows:
        relation, column, kind = row[-3:]
        table = context.catalogue.tables.get(relation)
        last, is_called = states.get(quoted(*row[:2]), (0, False))
        following = last + (row[2] if is_called else 0)
        known = [table, column or "", kind or "", last if is_called else None, following]
        values: list[Any] = [*row[:-3], *known]
        found.append(Numbering(*values))
    return found


def _states(context: Context, names: list[str]) -> dict[str, tuple[int, bool]]:
    """Each sequence's last number, and whether it was given already.

    PostgreSQL's function for it, and so its view, takes a stronger lock than reading does.
    """
    found = {}
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        parts = [
            f"SELECT {place}, last_value, is_called FROM {name}"  # noqa: S608 (quoted)
            for place, name in enumerate(some)
        ]
        for place, last, is_called in context.rows(sql.SQL(" UNION ALL ".join(parts))):
            found[some[place]] = (int(last), bool(is_called))
    return found


def _near_its_end(each: Numbering, share: float) -> Iterator[Reported]:
    if each.last is None or each.cycles or each.increment < 0:
        return
    of_type = _MOST.get(each.type, each.most)
    most = min(each.most, of_type)
    used = each.last / most
    if used < share:
        return
    steps = []
    if each.table and of_type <= each.most and of_type < _MOST["bigint"]:
        table = quoted(each.table.schema, each.table.name)
        steps.append(f"ALTER TABLE {table} ALTER COLUMN {quoted(each.column)} TYPE bigint;")
    # Also lifts what its own type allows.
    steps.append(f"ALTER SEQUENCE {each.sql_name} AS bigint NO MAXVALUE;")
    where = f" for {each.table.title}.{each.column}" if each.table else ""
    yield Reported(
        f"{each.title} end",
        Severity.CRITICAL if used >= _CRITICAL_SHARE else Severity.WARNING,
        f"The sequence {each.title} is near its end",
        f"{each.last:,} of {most:,} numbers{where} are used ({used:.1%}). After the last one "
        "every INSERT fails. A column that becomes bigint is written anew, with the table locked; "
        "columns that refer to it have to become bigint as well.",
        "\n".join(steps),
        each.subject,
    )


def _key(each: Numbering, table: Table) -> str:
    return f"{each.title} {table.title}.{each.column}"


def _furthest(each: Numbering, table: Table) -> str:
    extreme = "max" if each.increment > 0 else "min"
    return f"SELECT {extreme}({quoted(each.column)}) FROM {quoted(table.schema, table.name)}"  # noqa: S608


def _is_taken(each: Numbering, table: Table) -> str:
    sign = ">=" if each.increment > 0 else "<="
    return f"({_furthest(each, table)}) {sign} {each.following}"


def _turn(context: Context, each: Numbering, table: Table) -> Turn:
    return Turn(
        _key(each, table),
        f"{table.title} ({each.column})",
        lambda: _behind(context, each, table),
        reading(context.facts.role, (table.schema, table.name)),
    )


def _behind(context: Context, each: Numbering, table: Table) -> Iterator[Reported]:
    furthest = _furthest(each, table)
    taken = context.value(sql.SQL(furthest))
    if taken is None:
        return
    if (each.following > taken) if each.increment > 0 else (each.following < taken):
        return
    yield Reported(
        _key(each, table),
        Severity.CRITICAL,
        f"The sequence {each.title} gives numbers that are taken in {table.title}",
        f"Its next number is {each.following:,}, and {table.title}.{each.column} is at {taken:,} "
        "already. New rows fail as duplicates, or get a number twice where nothing forbids it.",
        f"SELECT setval({literal(each.sql_name)}, ({furthest}));",
        each.subject,
    )
