"""What the server counts of its work: reads from memory, temporary files, checkpoints, deadlocks.

Each tells of the last day, not of all time: what was bad a year ago is no news, and what is bad
today would drown in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.health.context import Context
from ops.health.contract import Reported, check
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.health.usage import within_a_day
from ops.models import Area, Severity

# Fewer within a day are base backups, new databases, or somebody's CHECKPOINT.
_FORCED_A_DAY = 50
_MEGABYTE = 1 << 20


@check(Area.PERFORMANCE, "Reads that find their data in memory")
def cache_hit(context: Context) -> Iterable[Reported]:
    """What is not in the server's memory has to be fetched from the disk or the system's cache.

    A share that falls means that the data in use has outgrown the memory, or that queries read more
    than they need.
    """
    limits = context.limits
    *counted, reset, memory = context.one(_BLOCKS)
    names = ("tables hit", "tables read", "indexes hit", "indexes read")
    grown = within_a_day(context, dict(zip(names, counted, strict=True)), reset)
    if grown is None:
        return
    for kind in ("tables", "indexes"):
        hit, read = grown[f"{kind} hit"], grown[f"{kind} read"]
        total = hit + read
        if total < limits.cache_hit_blocks or hit >= total * limits.cache_hit_share:
            continue
        yield Reported(
            kind,
            Severity.WARNING,
            f"Too little of what is read of {kind} is in memory",
            f"{hit / total:.1%} of {total:,} blocks within the last day; the others were fetched "
            f"from elsewhere. The server keeps {memory} (shared_buffers). What reads everything, "
            "such as a backup, shows here for a day.",
            "manage.py inspect --report outliers",
        )


@check(Area.PERFORMANCE, "Work that does not fit into memory")
def temporary_files(context: Context) -> Iterable[Reported]:
    """A sort or a join that does not fit into work_mem goes over the disk, which is slow.

    Much of it at once can fill the disk.
    """
    files, size, reset, memory = context.one(_TEMPORARY)
    grown = within_a_day(context, {"files": files, "bytes": size}, reset)
    if grown is None or grown["bytes"] < context.limits.temporary_bytes_per_day:
        return
    database = context.value("SELECT current_database()")
    yield Reported(
        "",
        Severity.WARNING,
        "Sorts and joins write much to temporary files",
        f"{grown['bytes'] / 1e9:,.1f} GB in {grown['files']:,} files within the last day. A sort "
        f"or a join gets {memory >> 10} MB of memory (work_mem).{_writers(context)} Twice as much "
        "memory helps those that just do not fit; a query that sorts what it need not is better "
        "mended itself.",
        f"ALTER DATABASE {quoted(database)} SET work_mem = '{2 * memory}kB';",
    )


@check(Area.PERFORMANCE, "Checkpoints that come before their time")
def forced_checkpoints(context: Context) -> Iterable[Reported]:
    """A checkpoint that is forced because the WAL grew too large writes all at once.

    After each of them every changed page goes into the WAL whole, so the WAL grows even faster.
    """
    major = context.facts.major
    timed, forced, reset = context.one(_CHECKPOINTS if major >= 17 else _CHECKPOINTS_BEFORE_17)
    grown = within_a_day(context, {"timed": timed, "forced": forced}, reset)
    if grown is None or grown["forced"] < _FORCED_A_DAY:
        return
    total = grown["timed"] + grown["forced"]
    if grown["forced"] <= total * context.limits.forced_checkpoints_share:
        return
    size = context.value("SELECT pg_size_bytes(current_setting('max_wal_size'))")
    yield Reported(
        "",
        Severity.WARNING,
        "Most checkpoints come before their time",
        f"{grown['forced']:,} of {total:,} within the last day were forced, mostly because the WAL "
        f"reached max_wal_size ({size // _MEGABYTE:,} MB).",
        as_superuser(
            f"ALTER SYSTEM SET max_wal_size = '{2 * size // _MEGABYTE}MB';\n"
            "SELECT pg_reload_conf();"
        ),
        "setting max_wal_size",
    )


@check(Area.PERFORMANCE, "Deadlocks")
def deadlocks(context: Context) -> Iterable[Reported]:
    """Two transactions that wait for each other: the server ends one, and its work is lost.

    It happens when two places in the code lock the same rows in another order.
    """
    total, reset = context.one(
        "SELECT deadlocks, stats_reset FROM pg_stat_database WHERE datname = current_database()"
    )
    grown = within_a_day(context, {"deadlocks": total}, reset)
    if not grown or not grown["deadlocks"]:
        return
    count = grown["deadlocks"]
    yield Reported(
        "",
        Severity.WARNING,
        "Transactions have locked each other out",
        f"{count:,} {'deadlock' if count == 1 else 'deadlocks'} within the last day; of each, one "
        "transaction was rolled back. The server's log has both statements.",
        "manage.py dblogs --level error",
    )


def _writers(context: Context) -> str:
    """The statements that wrote the most to temporary files, as far as it is known."""
    rows = context.rows(_MOST_TEMPORARY, [context.now])
    if not rows:
        return ""
    told = "; ".join(f"{size / 1e9:,.1f} GB by {' '.join(text.split())}" for text, size in rows)
    return f" The most: {told}."


_BLOCKS = """
    SELECT coalesce(sum(heap_blks_hit), 0)::bigint, coalesce(sum(heap_blks_read), 0)::bigint,
        coalesce(sum(idx_blks_hit), 0)::bigint, coalesce(sum(idx_blks_read), 0)::bigint,
        (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
        current_setting('shared_buffers')
    FROM pg_statio_user_tables
"""
_TEMPORARY = """
    SELECT d.temp_files, d.temp_bytes, d.stats_reset,
        (SELECT setting::bigint FROM pg_settings WHERE name = 'work_mem')
    FROM pg_stat_database d WHERE d.datname = current_database()
"""
_MOST_TEMPORARY = """
    SELECT left(s.text, 100), (sum(x.blocks_written_temporarily)
        * current_setting('block_size')::bigint)::bigint
    FROM ops_statementsample x JOIN ops_statement s ON s.id = x.statement_id
    WHERE x.taken_at > %s - interval '1 day' AND x.blocks_written_temporarily > 0
    GROUP BY s.id ORDER BY 2 DESC LIMIT 3
"""
_CHECKPOINTS = "SELECT num_timed, num_requested, stats_reset FROM pg_stat_checkpointer"
_CHECKPOINTS_BEFORE_17 = (
    "SELECT checkpoints_timed, checkpoints_req, stats_reset FROM pg_stat_bgwriter"
)
