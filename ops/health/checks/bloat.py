"""Room that tables and indexes take and do not use, estimated; and updates that make more of it.

The estimate is the usual one (the PostgreSQL wiki's "Show database bloat", and ioguix's later
work on it): how many pages the rows would fill, from their number and the planner's statistics of
how wide each column is and how often it is NULL, compared to the pages there are. It reads no
table. Both numbers are of the last VACUUM or ANALYZE. It is some percent off, and tells of hundreds
of megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.health.context import Context
from ops.health.contract import DAILY, Reported, check, several
from ops.health.quoting import quoted
from ops.health.steps import as_superuser, reading
from ops.models import Area, Severity

_HOLLOW = 0.9  # share of a table that holds nothing


@check(Area.PERFORMANCE, "Tables that hold more room than rows", every=DAILY)
def bloated_tables(context: Context) -> Iterable[Reported]:
    """Empty room within a table is read along with the rows, and kept in memory instead of them.

    It comes from mass deletes and updates, and from VACUUM that comes too seldom.
    """
    limits = context.limits
    least = min(limits.table_bloat_bytes, limits.hollow_table_bytes)
    _tell_unseen(context, _UNSEEN_TABLES, least)
    for schema, name, size, needed in context.rows(_TABLES, [least]):
        wasted = size - needed
        is_hollow = wasted >= limits.hollow_table_bytes and wasted >= size * _HOLLOW
        is_large = wasted >= limits.table_bloat_bytes and wasted >= size * limits.table_bloat_share
        if not is_large and not is_hollow:
            continue
        yield Reported(
            f"{schema}.{name}",
            Severity.WARNING,
            f"Most of {schema}.{name} is empty room",
            f"About {wasted / 1e6:,.0f} MB of {size / 1e6:,.0f} MB hold no rows. New rows will "
            "fill it; to give it back now the table is written anew, and nobody can use it for as "
            "long. pg_repack, where installed, does the same while others work.",
            f"VACUUM (FULL, ANALYZE) {quoted(schema, name)};",
            f"table {schema}.{name}",
        )


@check(Area.PERFORMANCE, "Indexes that hold more room than entries", every=DAILY)
def bloated_indexes(context: Context) -> Iterable[Reported]:
    """An index does not shrink by itself when rows go: each search reads more pages for it."""
    limits = context.limits
    _tell_unseen(context, _UNSEEN_INDEXES, limits.index_bloat_bytes)
    for schema, name, size, needed in context.rows(_INDEXES, [limits.index_bloat_bytes]):
        wasted = size - needed
        if wasted < limits.index_bloat_bytes or wasted < size * limits.index_bloat_share:
            continue
        yield Reported(
            f"{schema}.{name}",
            Severity.WARNING,
            f"Much of the index {schema}.{name} is empty room",
            f"About {wasted / 1e6:,.0f} MB of {size / 1e6:,.0f} MB hold no entries. It can be made "
            "anew while others read and write; that needs room for both for as long.",
            f"REINDEX INDEX CONCURRENTLY {quoted(schema, name)};",
            f"index {schema}.{name}",
        )


@check(Area.PERFORMANCE, "Updates that rewrite every index entry", every=DAILY)
def hot_updates(context: Context) -> Iterable[Reported]:
    """An update that finds room in its row's page and changes no indexed column writes no index.

    Such updates are called HOT. Where there is no room, all indexes of the table get a new entry.
    """
    limits = context.limits
    newer = context.facts.major >= 16
    moved = "s.n_tup_newpage_upd" if newer else "NULL::bigint"
    query = _UPDATES.format(moved=moved)
    for schema, name, updates, hot, elsewhere, fill in context.rows(query, [limits.hot_updates]):
        if hot >= updates * limits.hot_share:
            continue
        title = f"{schema}.{name}"
        # Of those that were not HOT, the ones that found no room.
        for_want_of_room = elsewhere is None or elsewhere * 2 >= updates - hot
        if fill < 100 and (elsewhere is None or for_want_of_room):
            continue
        step = (
            f"ALTER TABLE {quoted(schema, name)} SET (fillfactor = 90);"
            if for_want_of_room
            else f"manage.py inspect {title}"
        )
        why = (
            "Room left free in each page (fillfactor) lets more of them be HOT; it counts for "
            "pages written from then on."
            if for_want_of_room
            else "Most had room in their page, but changed a column of an index: an index on a "
            "column that changes often costs more than others."
        )
        yield Reported(
            title,
            Severity.INFO,
            f"Updates of {title} seldom spare its indexes",
            f"Only {hot / updates:.0%} of {updates:,} updates were HOT. {why}",
            step,
            f"table {title}",
        )


def estimates(context: Context, least: int) -> Iterable[tuple[str, str, str, int, int]]:
    """Yield each table and index of so many bytes: kind, schema, name, bytes it has and needs.

    What the login may not read is left out: its statistics are hidden. Small objects seem to need
    a page more or less than they have.
    """
    for kind, query in (("table", _TABLES), ("index", _INDEXES)):
        for schema, name, size, needed in context.rows(query, [least]):
            yield kind, schema, name, size, min(size, needed)


def _tell_unseen(context: Context, query: str, least: int) -> None:
    """Say which large tables have columns without statistics, or with statistics that are hidden.

    pg_stats shows those of columns that the login may read, and none of a table whose row security
    holds the login.
    """
    role = quoted(context.facts.role)
    missing: list[str] = []
    hidden: list[str] = []
    held: list[str] = []
    expressions: list[str] = []
    unread: list[tuple[str, str]] = []
    for schema, name, is_held, is_hidden, in_index in context.rows(query, [least]):
        of = held if is_held else hidden if is_hidden else expressions if in_index else missing
        of.append(quoted(schema, name))
        if of is hidden:
            unread.append((schema, name))
    if expressions:
        context.blind(
            f"Statistics of the expressions that {several(expressions)} is indexed by are hidden "
            f"from {role}, who does not own it.",
            as_superuser(f"GRANT pg_read_all_data TO {role};"),
        )
    if hidden:
        context.blind(
            f"Statistics of {several(hidden)} are hidden from {role}, who may not read every "
            "column.",
            reading(context.facts.role, *unread),
        )
    if held:
        context.blind(
            f"Statistics of {several(held)} are hidden from {role}, whom row security holds.",
            as_superuser(f"ALTER ROLE {role} BYPASSRLS;"),
        )
    if missing:
        context.blind(
            f"Columns of {several(missing)} have no statistics, so nobody can tell how much room "
            "the rows need.",
            "\n".join(f"ANALYZE {name};" for name in missing),
        )


_OURS = """n.nspname !~ '^pg_(toast|temp)'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
_BLOCK = "current_setting('block_size')::bigint"
# Of PostgreSQL's documentation, "Database Page Layout": a page's header, each row's pointer and
# header, an index page's special space, an entry's header. Everything begins at multiples of 8.
_PAGE_HEADER, _POINTER, _ROW_HEADER, _SPECIAL, _ENTRY_HEADER = 24, 4, 23, 16, 8
# Columns without statistics (never analyzed, or of a type that has none) would count for nothing,
# and their room for bloat.
_TABLES = f"""
    SELECT w.nspname, w.relname, w.relpages * {_BLOCK}, {_BLOCK} * ceil(w.reltuples / greatest(1,
        floor(({_BLOCK} - {_PAGE_HEADER}) * w.fill / 100.0
            / (ceil((w.header + w.width) / 8.0) * 8 + {_POINTER}))))::bigint
    FROM (
        SELECT n.nspname::text, c.relname::text, c.relpages::bigint, c.reltuples,
            coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
                WHERE option_name = 'fillfactor'), 100) AS fill,
            ceil(({_ROW_HEADER} + CASE WHEN max(s.null_frac) > 0 THEN (count(*) + 7) / 8 ELSE 0
                END) / 8.0) * 8 AS header,
            sum((1 - s.null_frac) * s.avg_width) AS width
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
            AND s.attname = a.attname AND NOT s.inherited
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.reltuples > 0
          AND c.relpages * {_BLOCK} >= %s AND {_OURS}
        GROUP BY 1, 2, 3, 4, 5 HAVING count(*) = count(s.attname)
    ) w ORDER BY 1, 2
"""  # noqa: S608 (constants)
# B-trees only: of other methods nobody can say how they pack their entries. Ten percent of a leaf
# page are left free by default, and the pages above the leaves are fewer than a hundredth.
# Entries of equal values share one key (deduplication), so that an index may be smaller than this.
_INDEXES = f"""
    SELECT w.nspname, w.relname, w.relpages * {_BLOCK}, {_BLOCK} * ceil(w.reltuples / greatest(1,
        floor(({_BLOCK} - {_PAGE_HEADER} - {_SPECIAL}) * w.fill / 100.0
            / (ceil((w.header + w.width) / 8.0) * 8 + {_POINTER}))))::bigint
    FROM (
        SELECT n.nspname::text, c.relname::text, c.relpages::bigint, c.reltuples,
            coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
                WHERE option_name = 'fillfactor'), 90) AS fill,
            {_ENTRY_HEADER} + CASE WHEN max(s.null_frac) > 0 THEN 8 ELSE 0 END AS header,
            sum((1 - s.null_frac) * s.avg_width) AS width
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
        JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid
        JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        -- An expression has statistics under the index's own name.
        LEFT JOIN pg_attribute o ON o.attrelid = t.oid AND o.attnum = i.indkey[a.attnum - 1]
            AND o.attnum <> 0
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND NOT s.inherited
            AND s.tablename = CASE WHEN o.attnum IS NULL THEN c.relname ELSE t.relname END
            AND s.attname = coalesce(o.attname, a.attname)
        WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND c.reltuples > 0
          AND c.relpages * {_BLOCK} >= %s AND {_OURS}
        GROUP BY 1, 2, 3, 4, 5 HAVING count(*) = count(s.attname)
    ) w ORDER BY 1, 2
"""  # noqa: S608 (constants)
# Of the same tables and indexes, those of which statistics of a column are not there to be read.
_UNSEEN_TABLES = f"""
    SELECT n.nspname::text, c.relname::text, row_security_active(c.oid),
        bool_or(NOT has_column_privilege(c.oid, a.attnum, 'SELECT')), false
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
        AND s.attname = a.attname AND NOT s.inherited
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.reltuples > 0
      AND c.relpages * {_BLOCK} >= %s AND {_OURS}
    GROUP BY c.oid, 1, 2 HAVING count(*) > count(s.attname) ORDER BY 1, 2
"""  # noqa: S608 (constants)
_UNSEEN_INDEXES = f"""
    SELECT n.nspname::text, t.relname::text, row_security_active(t.oid),
        coalesce(bool_or(NOT has_column_privilege(t.oid, o.attnum, 'SELECT')), false),
        bool_or(o.attnum IS NULL AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT'))
    FROM pg_class c
    JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
    JOIN pg_index i ON i.indexrelid = c.oid AND i.indisvalid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attribute o ON o.attrelid = t.oid AND o.attnum = i.indkey[a.attnum - 1]
        AND o.attnum <> 0
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND NOT s.inherited
        AND s.tablename = CASE WHEN o.attnum IS NULL THEN c.relname ELSE t.relname END
        AND s.attname = coalesce(o.attname, a.attname)
    WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND c.reltuples > 0
      AND c.relpages * {_BLOCK} >= %s AND {_OURS}
    GROUP BY t.oid, 1, 2 HAVING count(*) > count(s.attname) ORDER BY 1, 2
"""  # noqa: S608 (constants)
_UPDATES = f"""
    SELECT n.nspname::text, c.relname::text, s.n_tup_upd, s.n_tup_hot_upd, {{moved}},
        coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
            WHERE option_name = 'fillfactor'), 100)
    FROM pg_stat_user_tables s
    JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE s.n_tup_upd >= %s AND {_OURS}
    ORDER BY 1, 2
"""  # noqa: S608 (constants)
