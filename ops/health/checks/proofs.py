"""Whether restores were tried, and whether they held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings

from ops import words
from ops.backups.plan import KindPlan, plan
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.models import Area, BackupKind, DrillVerdict, Severity
from ops.models.backups import GOOD

_MONTH = timedelta(days=28)


def slack(every: timedelta, late: timedelta) -> timedelta:
    """By how much a promise may be late; what runs by the month meets months of 31 days."""
    return late + (timedelta(days=3) if every >= _MONTH else timedelta(0))


@check(Area.BACKUPS, "Restores that were not tried, or did not hold", every=HOURLY)
def drills(context: Context) -> Iterator[Reported]:
    """Only a restore that was tried proves a backup; and only one in time keeps the promise of how
    long the site may be down."""
    yield from _failed(context)
    if not settings.PRODUCTION_LIKE:
        return
    yield from _too_slow(context)
    for kind in plan().kinds.values():
        if kind.drill:
            yield from _too_long_ago(kind, kind.drill, context)


def _failed(context: Context) -> Iterator[Reported]:
    rows = context.rows(
        "SELECT subject, verdict, note, started_at FROM ops_drill WHERE verdict <> ALL(%s)"
        " ORDER BY started_at DESC, id DESC LIMIT 1",
        [[DrillVerdict.RUNNING.value, DrillVerdict.ABORTED.value]],
    )
    for subject, verdict, note, at in rows:
        if verdict == DrillVerdict.FAILED:
            yield Reported(
                "failed",
                Severity.CRITICAL,
                "The last drill failed",
                f"{subject}, {words.ago(at, context.now)}: {note} What can't be restored in a "
                "drill can't be restored when it counts.",
                "manage.py drill --list",
            )


def _too_slow(context: Context) -> Iterator[Reported]:
    rows = context.rows(
        "SELECT rto_seconds FROM ops_drill WHERE verdict = %s AND rto_seconds IS NOT NULL"
        " ORDER BY started_at DESC, id DESC LIMIT 1",
        [DrillVerdict.PASSED],
    )
    promised = plan().rto.total_seconds()
    for (seconds,) in rows:
        if seconds > promised:
            yield Reported(
                "slow",
                Severity.WARNING,
                "Restoring takes longer than promised",
                f"The last drill took {words.duration(seconds)} until its data could be used; "
                f"promised are {words.duration(promised)}.",
                "manage.py drill --list",
            )


def _too_long_ago(kind: KindPlan, every: timedelta, context: Context) -> Iterator[Reported]:
    oldest, proven = context.one(
        "SELECT (SELECT min(taken_at) FROM ops_backup WHERE kind = %(kind)s"
        "  AND state = ANY(%(good)s) AND environment = %(here)s),"
        " greatest((SELECT max(proven_at) FROM ops_backup WHERE kind = %(kind)s"
        "  AND environment = %(here)s AND disproven_at IS NULL),"
        " (SELECT max(d.finished_at) FROM ops_drill d JOIN ops_backup b ON b.id = d.backup_id"
        "  WHERE d.verdict = %(passed)s AND b.kind = %(kind)s))",
        {
            "kind": kind.kind,
            "good": list(GOOD),
            "here": settings.ENVIRONMENT,
            "passed": DrillVerdict.PASSED,
        },
    )
    since: datetime | None = proven or oldest
    # Without a backup of this kind there is nothing to try; that is told by backup_age.
    if since is None or context.now - since <= every + slack(every, context.limits.late):
        return
    title = BackupKind(kind.kind).label.lower()
    told = f"The last that held was {words.ago(proven, context.now)}" if proven else "None ever was"
    yield Reported(
        f"{kind.kind}",
        Severity.WARNING,
        f"No restore of a {title} backup was tried for too long",
        f"{told}; BACKUP_PLAN promises one every {words.duration(every.total_seconds())}.",
        f"manage.py drill --latest --kind {kind.kind}",
        f"{title} backups",
    )
