"""Since when the server's statistics count, and what came since a check looked last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ops.health.context import Context


def statistics_since(context: Context) -> datetime:
    """Return a moment since which the database's statistics have counted, for sure.

    PostgreSQL from 15 on says so only after a reset. Otherwise the oldest thing that they
    remember proves it, or the check that asks remembers when it asked first: a restored database
    has another number, and begins anew.
    """
    number: int
    reset: datetime | None
    oldest: datetime | None
    number, reset, oldest = context.one(_SINCE)
    memory = context.memory.get("statistics")
    if not memory or memory["database"] != number:
        memory = {"database": number, "since": context.now.isoformat()}
        context.memory["statistics"] = memory
    if reset is not None:
        return min(reset, context.now)
    known = datetime.fromisoformat(memory["since"])
    return min(known, oldest) if oldest is not None else known


def within_a_day(
    context: Context, totals: Mapping[str, int], reset: datetime | None
) -> dict[str, int] | None:
    """Return what running totals grew by within the last day; None when nobody looked before.

    What came between two looks is put down to the second one. Totals that the server began anew in
    between (a reset, a crash) count from nothing.
    """
    memory = context.memory
    before: dict[str, int] | None = memory.get("totals")
    began = reset.isoformat() if reset else ""
    anew = before is not None and (
        memory["reset"] != began or any(totals[name] < before.get(name, 0) for name in totals)
    )
    memory["totals"], memory["reset"] = dict(totals), began
    if before is None:
        return None
    hour = context.now.replace(minute=0, second=0, microsecond=0)
    oldest = (hour - timedelta(days=1)).isoformat()
    # One entry an hour, however often somebody looks.
    hours = {at: grown for at, grown in memory.get("hours", {}).items() if at > oldest}
    entry = hours.setdefault(hour.isoformat(), {})
    for name, value in totals.items():
        since = value - (0 if anew else before.get(name, 0))
        entry[name] = entry.get(name, 0) + since
    memory["hours"] = hours
    return {name: sum(each.get(name, 0) for each in hours.values()) for name in totals}


# Maintenance that the statistics remember was done while they counted.
_SINCE = """
    SELECT d.datid::bigint, d.stats_reset, (
        SELECT min(least(s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze))
        FROM pg_stat_all_tables s)
    FROM pg_stat_database d WHERE d.datname = current_database()
"""
