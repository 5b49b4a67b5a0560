"""Which index does all that another one does: the prefix rule."""

from __future__ import annotations

from ops.health.catalogue import Index

# DESC and NULLS FIRST, as pg_index.indoption has them.
_REVERSED = 3


def covers(index: Index, other: Index) -> bool:
    """Tell whether `index` can stand in for `other`, for reading and for what it enforces.

    It has to be of the same table, method and predicate, and to begin with the same columns of the
    same operator classes and collations, in the same or wholly reversed order. Of two that
    are the same, the one that enforces more stays, then the older.
    """
    if not index.is_valid or not index.is_ready:
        return False
    if (index.table, index.method, index.predicate) != (other.table, other.method, other.predicate):
        return False
    if not _begins_with(index, other):
        return False
    same = len(index.columns) == len(other.columns)
    if other.is_unique:
        return index.is_unique and same and _as_strict(index, other) and _stays(index, other)
    if not set(other.included) <= {*index.columns, *index.included}:
        return False
    return not same or set(index.included) > set(other.included) or _stays(index, other)


def _begins_with(index: Index, other: Index) -> bool:
    count = len(other.columns)
    # Only a B-tree can be searched by its first columns alone as if it had no others.
    if len(index.columns) != count and (index.method != "btree" or len(index.columns) < count):
        return False
    if (
        index.columns[:count] != other.columns
        or index.classes[:count] != other.classes
        or index.collations[:count] != other.collations
    ):
        return False
    directions = index.directions[:count]
    reversed_ = tuple(direction ^ _REVERSED for direction in directions)
    if other.directions not in {directions, reversed_}:
        return False
    if not other.expressions:
        return True
    # Deparsed one after the other, separated by commas.
    return index.expressions == other.expressions or index.expressions.startswith(
        f"{other.expressions}, "
    )


def _as_strict(index: Index, other: Index) -> bool:
    # One of them may take several NULLs for several values.
    alike = "NULLS NOT DISTINCT"
    return (alike in index.definition) == (alike in other.definition)


def _stays(index: Index, other: Index) -> bool:
    """Which of two that begin alike stays: the one that enforces more, then the older."""

    def worth(each: Index) -> tuple[bool, bool, bool, int]:
        return (each.is_primary, each.backs_constraint, each.is_unique, -each.oid)

    return worth(index) > worth(other)
