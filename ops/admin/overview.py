"""What stands above the list of backups: the answer, what is going on, the pictures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from django.conf import settings

from ops.admin.charts import Chart, charts
from ops.admin.standing import Standing, standing
from ops.admin.timeline import Span, Timeline, timeline
from ops.backups.wal.gaps import Window
from ops.models import Backup
from ops.readiness.reading import readiness
from ops.readiness.value import USUAL_DELAY, Readiness

# The newest so many are drawn; no picture shows more.
_MOST = 500


@dataclass(frozen=True)
class Overview:
    """The answer and the pictures."""

    standing: Standing
    readiness: Readiness
    timeline: Timeline | None = None
    charts: list[Chart] = field(default_factory=list)


def overview(now: dt.datetime, *, pictures: bool = True) -> Overview:
    """Return how ready this environment is, and its newest backups and WAL as pictures."""
    ready = readiness(now)
    told = standing(ready)
    if not pictures:
        return Overview(told, ready)
    backups = _newest_backups()
    spans = [Span(window.start_time, window.end_time) for window in ready.windows]
    drawn = timeline(backups, now, spans, _gaps(ready.windows, now))
    return Overview(told, ready, drawn, charts(backups))


def _newest_backups() -> list[Backup]:
    """This environment's newest backups without their manifests, which may be long."""
    rows = Backup.objects.of_environment(settings.ENVIRONMENT).newest_first()
    return list(rows.only("pk", "name", "kind", "state", "taken_at", "size", "seconds")[:_MOST])


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
