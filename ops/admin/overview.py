"""What stands above the list of backups: the answer, what is going on, the pictures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ops.admin.charts import Chart, charts
from ops.admin.standing import USUAL_DELAY, Standing, Targets, standing
from ops.admin.timeline import Span, Timeline, timeline
from ops.backups.errors import BackupError
from ops.backups.plan import plan
from ops.backups.wal.gaps import Window
from ops.backups.wal.windows import restorable_windows
from ops.models import Backup
from ops.models.backups import WHOLE

# The newest so many are looked at; no picture shows more, and the answer needs fewer.
_MOST = 500


@dataclass(frozen=True)
class Overview:
    """The answer and the pictures."""

    standing: Standing
    timeline: Timeline | None = None
    charts: list[Chart] = field(default_factory=list)


def newest_backups() -> list[Backup]:
    """The newest backups without their manifests, which may be long; copies come along."""
    rows = Backup.objects.newest_first().prefetch_related("copies")
    return list(
        rows.only(
            "pk", "name", "kind", "state", "taken_at", "proven_at", "verified_at", "size", "seconds"
        )[:_MOST]
    )


def overview(now: dt.datetime, *, pictures: bool = True) -> Overview:
    """Look at the newest backups and at the WAL archive."""
    backups = newest_backups()
    windows = restorable_windows()
    ends = [window.end_time for window in windows]
    told = standing(backups, now, restorable_to=max(ends, default=None), targets=targets())
    if not pictures:
        return Overview(told)
    spans = [Span(window.start_time, window.end_time) for window in windows]
    return Overview(told, timeline(backups, now, spans, _gaps(windows, now)), charts(backups))


def targets() -> Targets:
    """What settings promise; a plan that can't be read promises a day and a week."""
    try:
        promised = plan()
    except BackupError:
        return Targets()
    drills = [each.drill for each in promised.kinds.values() if each.kind in WHOLE and each.drill]
    return Targets(promised.rpo, min(drills, default=Targets.proof))


def _gaps(windows: Sequence[Window], now: dt.datetime) -> list[Span]:
    found = [
        Span(before.end_time, after.start_time, before.reason)
        for before, after in pairwise(windows)
        if after.start_time > before.end_time
    ]
    if windows and now - windows[-1].end_time > USUAL_DELAY:
        last = windows[-1]
        why = last.reason or "no WAL has been stored since then"
        found.append(Span(last.end_time, now, why))
    return found
