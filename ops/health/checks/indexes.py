"""Indexes: references without one, tables that are read whole, indexes that nobody needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from ops.health.catalogue import Catalogue, ForeignKey, Index, Table
from ops.health.context import Context
from ops.health.contract import DAILY, Reported, check
from ops.health.prefixes import covers
from ops.health.quoting import quoted
from ops.health.usage import statistics_since
from ops.models import Area, Severity

# A table that only backups and checks read is read whole once or twice a day.
_SCANS_A_DAY = 50
_PLAIN_METHODS = {"btree", "hash"}


@check(Area.PERFORMANCE, "References without an index", every=DAILY)
def unindexed_references(context: Context) -> Iterable[Reported]:
    """Deleting a parent, and following the reference back, reads the whole table each time.

    PostgreSQL makes an index for what is referenced, and none for the columns that refer.
    """
    catalogue = context.catalogue
    for key in catalogue.foreign_keys.values():
        table = catalogue.tables.get(key.table)
        if table is None or _supporting(catalogue, key):
            continue
        names = catalogue.column_names(key.table, key.columns)
        listed = ", ".join(quoted(name) for name in names)
        rows = max(table.rows, float(table.live_rows), 0.0)
        yield Reported(
            f"{table.title}.{key.name}",
            Severity.WARNING if rows >= context.limits.missing_index_rows else Severity.INFO,
            f"{table.title} has no index on {', '.join(names)}, by which it refers to another",
            f"Each row deleted from the table it refers to ({key.name}) makes the server read all "
            f"of {table.title}, about {rows:,.0f} rows, and wait for it.",
            _create(table, listed),
            f"table {table.title}",
        )


@check(Area.PERFORMANCE, "Large tables that are read whole")
def missing_indexes(context: Context) -> Iterable[Reported]:
    """Queries that find no index read every row; the larger the table, the slower they get."""
    limits = context.limits
    days = max((context.now - statistics_since(context)) / timedelta(days=1), 1.0)
    for table in context.catalogue.tables.values():
        rows = max(table.rows, float(table.live_rows))
        if table.kind != "r" or rows < limits.missing_index_rows:
            continue
        scans = table.sequential_scans
        if scans <= table.index_scans or scans / days < _SCANS_A_DAY:
            continue
        # A LIMIT that is soon full begins to read the whole, and does not.
        if table.sequential_rows / scans < rows / 2:
            continue
        yield Reported(
            table.title,
            Severity.WARNING,
            f"{table.title} is mostly read whole",
            f"It has about {rows:,.0f} rows. {scans:,} scans read {table.sequential_rows:,} rows "
            f"without an index, {table.index_scans:,} scans used one. The check index_suggestions "
            "says which columns slow statements look for.",
            f"manage.py inspect {table.title}",
            f"table {table.title}",
        )


@check(Area.PERFORMANCE, "Indexes that nobody uses", every=DAILY)
def unused_indexes(context: Context) -> Iterable[Reported]:
    """An index costs time on each write, room in memory and room in backups, used or not."""
    limits = context.limits
    age = context.now - statistics_since(context)
    if age < timedelta(days=limits.unused_index_days):
        return
    # What others do is hidden from a login without pg_monitor, that they are there is not.
    standbys = context.value(
        "SELECT count(*) FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming'"
    )
    elsewhere = (
        " A standby counts its own use: look there, too, before you drop it." if standbys else ""
    )
    catalogue = context.catalogue
    parents = _parents(context)
    needed = {
        only[0].oid
        for key in catalogue.foreign_keys.values()
        if len(only := _supporting(catalogue, key)) == 1
    }
    whole = _whole(catalogue, parents)
    for index in catalogue.indexes.values():
        scans, size = whole[index.oid]
        if (
            index.oid in parents
            or scans
            or size < limits.unused_index_bytes
            or not _is_optional(index)
        ):
            continue
        # Without it a reference would have no index, which is worse than one that rests.
        if index.oid in needed:
            continue
        table = catalogue.tables[index.table]
        yield Reported(
            index.title,
            Severity.INFO,
            f"The index {index.title} has never been used",
            f"No query has read it within {age.days} days, and it takes {size / 1e6:,.0f} MB. Each "
            f"write to {table.title} keeps it up to date.{elsewhere}",
            _drop(index, table),
            f"index {index.title}",
        )


@check(Area.PERFORMANCE, "Indexes that another one makes needless", every=DAILY)
def duplicate_indexes(context: Context) -> Iterable[Reported]:
    """An index on (a) does nothing that one on (a, b) does not do, and costs as much to keep."""
    catalogue = context.catalogue
    parents = _parents(context)
    whole = _whole(catalogue, parents)
    for oid, indexes in catalogue.indexes_of.items():
        table = catalogue.tables.get(oid)
        if table is None:
            continue
        gone: set[int] = set()
        # The smallest first: of three on (a), (a, b) and (a, b, c) the last one stays.
        for index in sorted(indexes, key=lambda each: (len(each.columns), -each.oid)):
            if index.oid in parents or not _is_droppable(index):
                continue
            others = [each for each in indexes if each.oid not in gone and covers(each, index)]
            _, size = whole[index.oid]
            # Two of the same nobody wants; a small one that a longer one covers, Django makes.
            same = [each for each in others if _are_same(each, index)]
            enough = size >= context.limits.duplicate_index_bytes
            better = next(iter(same or (others if enough else [])), None)
            if better is None:
                continue
            gone.add(index.oid)
            yield Reported(
                index.title,
                Severity.WARNING,
                f"The index {index.title} does nothing that {better.title} does not do",
                f"Every query that could use it can use the other one. It takes {size / 1e6:,.1f} "
                f"MB, and each write to {table.title} keeps both.\n{index.definition};\n"
                f"{better.definition};",
                _drop(index, table),
                f"index {index.title}",
            )


def _supporting(catalogue: Catalogue, key: ForeignKey) -> list[Index]:
    """The indexes that find a reference's rows: valid, and starting with its columns."""
    wanted = set(key.columns)
    # Rows that refer to nothing are never looked for, so an index may leave them out.
    names = catalogue.column_names(key.table, key.columns)
    only_set = {"", *(f"({quoted(name)} IS NOT NULL)" for name in names)}
    return [
        index
        for index in catalogue.indexes_of[key.table]
        if index.is_valid
        and index.method in _PLAIN_METHODS
        and set(index.columns[: len(wanted)]) == wanted
        and index.predicate in only_set
    ]


def _parents(context: Context) -> dict[int, int]:
    """Of each partition's index the one of the whole table; neither can be dropped alone."""
    rows = context.rows(
        "SELECT i.inhrelid::bigint, i.inhparent::bigint FROM pg_inherits i"
        " JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('i', 'I')"
    )
    return dict(rows)


def _whole(catalogue: Catalogue, parents: dict[int, int]) -> dict[int, tuple[int, int]]:
    """Scans and bytes of each index; those of partitions count for the one of the whole table."""
    found = {oid: (each.scans, each.size) for oid, each in catalogue.indexes.items()}
    for oid, index in catalogue.indexes.items():
        above = parents.get(oid)
        while above in found:
            scans, size = found[above]
            found[above] = (scans + index.scans, size + index.size)
            above = parents.get(above)
    return found


def _are_same(one: Index, other: Index) -> bool:
    return (one.columns, one.included) == (other.columns, other.included)


def _is_optional(index: Index) -> bool:
    # What CLUSTER orders a table by is not read by queries, and still asked for by its name.
    return not (index.is_unique or index.is_primary or index.backs_constraint or index.is_clustered)


def _is_droppable(index: Index) -> bool:
    return index.is_valid and not (index.is_primary or index.backs_constraint)


def _create(table: Table, columns: str) -> str:
    # On a partitioned table PostgreSQL makes indexes only while nobody writes.
    how = "" if table.kind == "p" else "CONCURRENTLY "
    return f"CREATE INDEX {how}ON {quoted(table.schema, table.name)} ({columns});"


def _drop(index: Index, table: Table) -> str:
    how = "" if table.kind == "p" else "CONCURRENTLY "
    return f"DROP INDEX {how}{quoted(index.schema, index.name)};"
