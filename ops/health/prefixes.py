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
    if not index.is_valid or not index.is_ready or _is_needed(other):
        return False
    if (index.table, index.method, index.predicate) != (other.table, other.method, other.predicate):
        return False
    if not _begins_with(index, other) or not _packed_alike(index, other):
        return False
    if not set(other.included) <= {*index.columns, *index.included}:
        return False
    same = len(index.columns) == len(other.columns)
    if other.is_unique:
        return same and _as_strict(index, other) and _stays(index, other)
    return not same or set(index.included) > set(other.included) or _stays(index, other)


def _is_needed(index: Index) -> bool:
    """Whether something other than a query needs this very index, by its name."""
    return index.is_clustered or index.is_replica_identity or index.is_referenced


def _packed_alike(index: Index, other: Index) -> bool:
    # Parameters decide what a GIN, GiST or BRIN index finds quickly; of a B-tree its size alone.
    return index.method in {"btree", "hash"} or index.options == other.options


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
    """Whether `index` refuses what `other` refuses, at the same moment.

    A deferrable rule may be broken until the transaction ends: no foreign key can go by it, no
    ON CONFLICT, and the planner proves nothing by it.
    """
    return (
        index.is_unique
        and (index.is_immediate or not other.is_immediate)
        and index.nulls_not_distinct == other.nulls_not_distinct
    )


def _stays(index: Index, other: Index) -> bool:
    """Which of two that begin alike stays: who enforces more, then the needed one, the older."""

    def worth(each: Index) -> tuple[bool, bool, bool, bool, int]:
        return (
            each.is_primary,
            each.backs_constraint,
            each.is_unique,
            _is_needed(each),
            -each.oid,
        )

    return worth(index) > worth(other)
