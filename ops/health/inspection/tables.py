"""Every table at a glance: rows, sizes, how it is read, dead rows, policies."""

from __future__ import annotations

from ops.health.context import Context
from ops.health.inspection.report import Column, Form, Report

_COLUMNS = (
    Column("table", "Table"),
    Column("rows", "Rows", Form.NUMBER),
    Column("bytes", "Size", Form.BYTES),
    Column("index_bytes", "Indexes", Form.BYTES),
    Column("sequential_scans", "Read whole", Form.NUMBER),
    Column("index_scans", "By index", Form.NUMBER),
    Column("dead_share", "Dead", Form.SHARE, lambda share: "yellow" if share >= 0.2 else ""),
    Column("row_security", "Row security", style=lambda text: "yellow" if text == "off" else ""),
    Column("policies", "Policies", Form.NUMBER),
)


def tables(context: Context) -> Report:
    """Return a row for each table, the largest first. Rows are the planner's estimate."""
    catalogue = context.catalogue
    policies = dict(
        context.rows("SELECT polrelid::bigint, count(*) FROM pg_policy GROUP BY polrelid")
    )
    rows = []
    for table in sorted(catalogue.tables.values(), key=lambda each: (-each.size, each.title)):
        counted = table.live_rows + table.dead_rows
        indexes = sum(each.size for each in catalogue.indexes_of.get(table.oid, ()))
        forced = "forced" if table.forced else "on"
        rows.append(
            (
                table.title,
                # Never analysed, the planner says -1; the statistics collector may know.
                table.live_rows if table.rows < 0 else int(table.rows),
                table.size,
                indexes,
                table.sequential_scans,
                table.index_scans,
                table.dead_rows / counted if counted else 0.0,
                forced if table.row_security else "off",
                policies.get(table.oid, 0),
            )
        )
    count = f"{len(rows):,} tables" if len(rows) != 1 else "1 table"
    return Report("tables", count, _COLUMNS, tuple(rows))
