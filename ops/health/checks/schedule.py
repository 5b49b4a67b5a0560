"""Checks of the area schedule: whether what should run by itself does.

Whether it works is told by the area backups; here, whether anybody starts it. In development nobody
is promised to (settings.PRODUCTION_LIKE).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from ops import words
from ops.backups.plan import plan
from ops.backups.wal.checking import WAL
from ops.health.checks.backups import installed_at, is_archived, scheduled
from ops.health.checks.proofs import slack
from ops.health.context import Context
from ops.health.contract import OFTEN, Check, Reported, check
from ops.models import Area, BackupKind, RunKind, Severity
from ops.models.backups import PHYSICAL

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class _Job:
    key: str
    title: str
    command: str
    every: timedelta
    last: datetime | None


@check(Area.SCHEDULE, "Scheduled work that is overdue", every=OFTEN)
def overdue(context: Context) -> Iterator[Reported]:
    """When cron stops, nothing fails and nobody is told: backups, their checks and their drills are
    simply not there any more."""
    if not settings.PRODUCTION_LIKE:
        return
    began = installed_at(context)
    for job in _jobs(context):
        since = job.last or began
        if context.now - since <= job.every + slack(job.every, context.limits.late):
            continue
        told = f"It was last begun {words.ago(job.last, context.now)}" if job.last else "Never yet"
        yield Reported(
            job.key,
            Severity.CRITICAL,
            f"{job.title} is overdue",
            f"{told}, and should be every {words.duration(job.every.total_seconds())}. See whether "
            "cron runs and has the lines of docs/backups.md.",
            job.command,
        )


def _jobs(context: Context) -> Iterator[_Job]:
    """What the crontab has (ops/backups/plan.py), and when each was begun last, by whomever."""
    begun: dict[tuple[str, str], datetime] = {
        (kind, of): at
        for kind, of, at in context.rows(
            "SELECT r.kind, coalesce(nullif(r.arguments ->> 'kind', ''), b.kind, ''),"
            " max(coalesce(r.started_at, r.asked_at)) FROM ops_run r"
            " LEFT JOIN ops_backup b ON b.id = r.backup_id"
            " WHERE r.kind = ANY(%s) GROUP BY 1, 2",
            [
                [
                    RunKind.BACKUP.value,
                    RunKind.VERIFY.value,
                    RunKind.PROVE.value,
                    RunKind.DRILL.value,
                    RunKind.PRUNE.value,
                ]
            ],
        )
    }

    def last(*kinds: str, of: str | None = None) -> datetime | None:
        found = [at for (kind, what), at in begun.items() if kind in kinds and of in {None, what}]
        return max(found, default=None)

    for kind in scheduled(context):
        assert kind.cadence is not None
        yield _Job(
            f"backup {kind.kind}",
            f"The {kind.kind} backup ({kind.cadence.text})",
            f"manage.py backup --{kind.kind}",
            kind.cadence.every,
            last(RunKind.BACKUP, of=kind.kind),
        )
    # Uploaded files and WAL are checked as well each night, and are no database.
    checked = max(
        (
            at
            for (kind, what), at in begun.items()
            if kind in {RunKind.VERIFY, RunKind.PROVE} and what not in {BackupKind.MEDIA, WAL}
        ),
        default=None,
    )
    yield _Job("verify", "Checking the newest backup", "manage.py verify --latest", _DAY, checked)
    if is_archived(context):
        read = last(RunKind.VERIFY, of=WAL)
        yield _Job("verify wal", "Reading the WAL archive", "manage.py verify --wal", _DAY, read)
    for kind in plan().kinds.values():
        if kind.drill and (is_archived(context) or kind.kind not in PHYSICAL):
            yield _Job(
                f"drill {kind.kind}",
                f"The drill of {kind.kind} backups",
                f"manage.py drill --latest --kind {kind.kind}",
                kind.drill,
                last(RunKind.DRILL, of=kind.kind),
            )
    pruned = last(RunKind.PRUNE)
    yield _Job("prune", "Deleting old backups", "manage.py backups --prune --yes", _DAY, pruned)


CHECKS: tuple[Check, ...] = (overdue,)
