"""Indexes, dead rows, vacuum and traffic, table by table."""

from __future__ import annotations

from ops.health.checks.bloat import estimates
from ops.health.context import Context
from ops.health.inspection.report import Column, Form, Report

_SMALL = 65_536  # bytes; below that an estimate in whole pages says nothing


def indexes(context: Context) -> Report:
    """Return every index, the largest first, and how often it was used."""
    catalogue = context.catalogue
    columns = (
        Column("index", "Index"),
        Column("table", "Table"),
        Column("bytes", "Size", Form.BYTES),
        Column("scans", "Used", Form.NUMBER, lambda scans: "" if scans else "yellow"),
        Column("kind", "Kind", style=lambda kind: "bold red" if "invalid" in kind else ""),
        Column("definition", "On"),
    )
    rows = []
    for each in sorted(catalogue.indexes.values(), key=lambda one: (-one.size, one.title)):
        kind = "primary key" if each.is_primary else "unique" if each.is_unique else ""
        invalid = "" if each.is_valid and each.is_ready else "invalid"
        table = catalogue.tables.get(each.table)
        rows.append(
            (
                each.title,
                table.title if table else "",
                each.size,
                each.scans,
                ", ".join(part for part in (kind, invalid) if part),
                each.definition.partition(" USING ")[2],
            )
        )
    since = context.value("SELECT stats_reset FROM pg_stat_database WHERE datname ="
                          " current_database()")  # fmt: skip
    counted = f", used since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return Report("indexes", f"{len(rows):,} indexes{counted}", columns, tuple(rows))


def bloat(context: Context) -> Report:
    """Return how much room of tables and indexes holds nothing, by estimate, the most first."""
    columns = (
        Column("object", "Object"),
        Column("kind", "Kind"),
        Column("bytes", "Takes", Form.BYTES),
        Column("wasted_bytes", "Empty, about", Form.BYTES),
        Column("share", "Share", Form.SHARE, lambda share: "yellow" if share >= 0.5 else ""),
    )
    rows = [
        (f"{schema}.{name}", kind, size, size - needed, (size - needed) / size)
        for kind, schema, name, size, needed in estimates(context, _SMALL)
    ]
    rows.sort(key=lambda row: (-row[3], row[0]))
    note = (
        "Estimated from the planner's statistics, as of the last VACUUM or ANALYZE; what the login "
        "may not read is left out."
    )
    return Report("bloat", "Room that holds nothing", columns, tuple(rows), (note,))


def vacuum(context: Context) -> Report:
    """Return when each table was vacuumed and analysed last, and how far it is from the next."""
    columns = (
        Column("table", "Table"),
        Column("live_rows", "Rows", Form.NUMBER),
        Column("dead_rows", "Dead", Form.NUMBER),
        Column("threshold", "Comes at", Form.NUMBER),
        Column("due", "Due", Form.FLAG, lambda due: "yellow" if due else ""),
        Column("vacuumed", "Vacuumed", Form.MOMENT),
        Column("analysed", "Analysed", Form.MOMENT),
        Column("age", "Transactions old", Form.NUMBER),
        Column("freeze_share", "Of the freeze limit", Form.SHARE),
    )
    return Report("vacuum", "Vacuum", columns, tuple(context.rows(_VACUUM)))


def traffic(context: Context) -> Report:
    """Return what was read and written of each table since counting began, the busiest first."""
    columns = (
        Column("table", "Table"),
        Column("sequential_scans", "Read whole", Form.NUMBER),
        Column("sequential_rows", "Rows so", Form.NUMBER),
        Column("index_scans", "By index", Form.NUMBER),
        Column("inserted", "Inserted", Form.NUMBER),
        Column("updated", "Updated", Form.NUMBER),
        Column("hot_share", "In place", Form.SHARE),
        Column("deleted", "Deleted", Form.NUMBER),
        Column("hit", "From memory", Form.SHARE),
    )
    return Report("traffic", "Traffic", columns, tuple(context.rows(_TRAFFIC)))


# A table's own autovacuum settings win over the server's (documentation, 24.1.6).
_VACUUM = """
    SELECT format('%I.%I', s.schemaname, s.relname), s.n_live_tup, s.n_dead_tup, v.threshold,
        s.n_dead_tup > v.threshold AND s.n_dead_tup > 0,
        greatest(s.last_vacuum, s.last_autovacuum), greatest(s.last_analyze, s.last_autoanalyze),
        age(c.relfrozenxid),
        age(c.relfrozenxid)::float8 / current_setting('autovacuum_freeze_max_age')::float8
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid,
    LATERAL (SELECT (
        coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)
                  WHERE option_name = 'autovacuum_vacuum_threshold'),
                 current_setting('autovacuum_vacuum_threshold'))::float8
        + coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)
                    WHERE option_name = 'autovacuum_vacuum_scale_factor'),
                   current_setting('autovacuum_vacuum_scale_factor'))::float8
        * greatest(c.reltuples, 0))::bigint AS threshold) v
    WHERE c.relkind IN ('r', 'm')
    ORDER BY s.n_dead_tup DESC, age(c.relfrozenxid) DESC, 1
"""
_TRAFFIC = """
    SELECT format('%I.%I', s.schemaname, s.relname), s.seq_scan, s.seq_tup_read,
        coalesce(s.idx_scan, 0), s.n_tup_ins, s.n_tup_upd,
        s.n_tup_hot_upd::float8 / nullif(s.n_tup_upd, 0), s.n_tup_del,
        (io.heap_blks_hit + coalesce(io.idx_blks_hit, 0))::float8 / nullif(
            io.heap_blks_hit + coalesce(io.idx_blks_hit, 0) + io.heap_blks_read
            + coalesce(io.idx_blks_read, 0), 0)
    FROM pg_stat_user_tables s JOIN pg_statio_user_tables io ON io.relid = s.relid
    ORDER BY s.seq_tup_read + coalesce(s.idx_tup_fetch, 0) + s.n_tup_ins + s.n_tup_upd
        + s.n_tup_del DESC, 1
"""
