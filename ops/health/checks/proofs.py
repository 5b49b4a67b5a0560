"""Whether restores were tried, and whether they held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from ops import words
from ops.backups.dump_restore.administrator_needs import administrator_needs, told
from ops.backups.plan import KindPlan, plan
from ops.health.checks.archive import ready
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.models import Area, BackupKind, Severity
from ops.readiness.value import Shortcoming

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


@check(Area.BACKUPS, "Objects that only an administrator can restore", every=HOURLY)
def restore_rights(context: Context) -> Iterator[Reported]:
    """A restore goes by the owner's login. What that may not make again, it is refused for, until
    an administrator's address is given to it: better known today than on the day it counts."""
    if settings.EMBEDDED_POSTGRES:
        return  # its superuser is at hand
    if needs := administrator_needs(context.connection, context.endpoint.user):
        count = sum(len(need.objects) for need in needs)
        many = "1 object" if count == 1 else f"{count:,} objects"
        yield Reported(
            "objects",
            Severity.WARNING,
            "A restore needs an administrator's login",
            f"{context.endpoint.user} can't make {many} of this database again: {told(needs)}. "
            "Backups hold them. Keep a superuser's address where you will find it, and set "
            "DATABASE_ADMIN_URL to it for a restore; or give these objects to "
            f"{context.endpoint.user}.",
            "manage.py restore --latest --dry-run",
        )


def _failed(context: Context) -> Iterator[Reported]:
    last = ready(context).failed_drill
    if last is not None:
        yield Reported(
            "failed",
            Severity.CRITICAL,
            "A drill failed, and none of its kind has passed since",
            f"{last.subject}, {words.ago(last.started_at, context.now)}: {last.note} What can't be "
            "restored in a drill can't be restored when it counts.",
            "manage.py drill --list",
        )


def _too_slow(context: Context) -> Iterator[Reported]:
    now = ready(context)
    if Shortcoming.TOO_SLOW in now.shortcomings and now.seconds is not None:
        yield Reported(
            "slow",
            Severity.WARNING,
            "Restoring takes longer than promised",
            f"The last drill took {words.duration(now.seconds)} until its data could be used; "
            f"promised are {words.duration(now.promise.time.total_seconds())}.",
            "manage.py drill --list",
        )


def _too_long_ago(kind: KindPlan, every: timedelta, context: Context) -> Iterator[Reported]:
    known = ready(context).of(kind.kind)
    proven = known.proven_at
    since = proven or known.oldest_at
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
