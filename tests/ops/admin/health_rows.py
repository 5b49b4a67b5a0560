"""Findings, results and samples as a day of watching leaves them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from ops.health.selection import all_checks
from ops.models import (
    CheckResult,
    CheckState,
    EventKind,
    Finding,
    FindingEvent,
    Sample,
    Statement,
    StatementSample,
)
from ops.rls.router import as_owner_by_default


def make_finding(now: dt.datetime, **values: Any) -> Finding:
    """Make an open finding and the event that opened it."""
    opened_at = values.setdefault("opened_at", now - dt.timedelta(hours=3))
    given = {
        "check_name": "row_security",
        "key": "public.customers",
        "area": "security",
        "severity": "critical",
        "title": "public.customers shows every business's rows to every other",
        "detail": "Row security is off.\nAny member's session reads all 12 rows.",
        "next_step": "ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;",
        "subject": "table public.customers",
        "first_seen": opened_at,
        "last_seen": now - dt.timedelta(minutes=1),
        **values,
    }
    with as_owner_by_default():
        row = Finding.objects.create(**given)
        FindingEvent.objects.create(
            finding=row, kind=EventKind.OPENED, severity=row.severity, at=opened_at
        )
    return row


def make_results(
    ran_at: dt.datetime, *, but: Sequence[str] = (), state: str = CheckState.WELL
) -> None:
    """Say of every check that it ran."""
    with as_owner_by_default():
        CheckResult.objects.bulk_create(
            CheckResult(
                check_name=check.name, area=check.area, state=state, ran_at=ran_at, seconds=0.012
            )
            for check in all_checks()
            if check.name not in but
        )


def make_samples(now: dt.datetime, days: float = 2) -> Statement:
    """Make samples every half hour, and a statement's; returns the statement."""
    moments = [now - dt.timedelta(minutes=30 * step) for step in range(int(days * 48))]
    with as_owner_by_default():
        Sample.objects.bulk_create(
            Sample(metric=metric, taken_at=at, value=value)
            for number, at in enumerate(moments)
            for metric, value in (
                ("database_bytes", 40e6 - number * 1e5),
                ("connections", 5 + number % 3),
                ("connections_maximum", 100),
                ("cache_hit_ratio", 0.999 - number / 1e5),
            )
        )
        statement = Statement.objects.create(
            query_id="42",
            role="srvc_app",
            text="SELECT id, title FROM jobs WHERE title = $1 AND status <> 'done'",
            first_seen=moments[-1],
            last_seen=now,
        )
        StatementSample.objects.bulk_create(
            StatementSample(
                statement=statement,
                since=at - dt.timedelta(minutes=30),
                taken_at=at,
                calls=10,
                milliseconds=125.0,
                rows=20,
                blocks_hit=90,
                blocks_read=10,
            )
            for at in moments
        )
    return statement
