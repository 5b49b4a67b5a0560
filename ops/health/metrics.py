"""Numbers for Prometheus, read by the web process as the platform's role, in a few queries.

What is told are facts as the watcher recorded them: asking often costs the database next to
nothing, and a watcher that stands still shows by the age of what it did last.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import Count, Q
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ops.backups import plan
from ops.health.watch import METRIC, TICK
from ops.models import (
    Area,
    CheckResult,
    Finding,
    Notice,
    NoticeState,
    Sample,
    Severity,
)
from ops.readiness.reading import readiness
from ops.readiness.value import Readiness
from ops.rls.session import acting_as

_LIMIT = 5_000  # milliseconds for each query
# Numbers older than this say nothing about now, and are left out.
_FRESH = timedelta(minutes=30)
# Metrics of ops_sample: their name here, what they are, and the label of their subject.
_SAMPLES: dict[str, tuple[str, str, str]] = {
    "database_bytes": ("srvc_database_size_bytes", "Size of the database", ""),
    "connections": ("srvc_connections", "Connections of clients to the server", ""),
    "connections_maximum": ("srvc_connections_max", "Connections that the server allows", ""),
    "cache_hit_ratio": (
        "srvc_cache_hit_ratio", "Share of blocks found in memory since the sample before", "",
    ),
    "transactions_per_second": (
        "srvc_transactions_per_second", "Transactions per second since the sample before", "",
    ),
    "wal_bytes": ("srvc_wal_size_bytes", "Size of the WAL that the server keeps", ""),
    "disk_free_bytes": ("srvc_disk_free_bytes", "Room left on a disk that SRVC needs", "path"),
    "disk_total_bytes": ("srvc_disk_size_bytes", "Size of a disk that SRVC needs", "path"),
}  # fmt: skip


class _Scraper:
    """The identity of whoever reads the numbers: everything is seen, nothing can be written."""

    pk = 0
    row_security_account_id = None
    is_platform_administrator = False
    is_auditor = True


def exposition(now: datetime) -> bytes:
    """Return all numbers in Prometheus' text format. Raises the database's errors."""
    with acting_as(_Scraper(), via="/metrics", writes=False):
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(_LIMIT)])
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Numbers(now))
        return generate_latest(registry)


class _Numbers(Collector):
    """Reads everything when it is asked for, once."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values."""
        yield _gauge(
            "srvc_build_info", "What runs here; always 1",
            {"environment": settings.ENVIRONMENT, "version": settings.VERSION}, 1,
        )  # fmt: skip
        yield from self._findings()
        yield from self._checks()
        yield from self._backups()
        yield from self._notices()
        yield from self._samples()

    def _findings(self) -> Iterator[Metric]:
        loud = Q(accepted="") & (Q(snoozed_until=None) | Q(snoozed_until__lte=self._now))
        rows = Finding.objects.open().values("severity", "area").order_by()
        counted = {
            (row["severity"], row["area"]): (row["loud"], row["all"] - row["loud"])
            for row in rows.annotate(all=Count("pk"), loud=Count("pk", filter=loud))
        }
        labels = ["severity", "area"]
        open_ = GaugeMetricFamily("srvc_findings", "Open findings that count", labels=labels)
        silenced = GaugeMetricFamily(
            "srvc_findings_silenced", "Open findings that are snoozed or accepted", labels=labels
        )
        # All of them, so that a rule can tell nothing found from nothing told.
        for severity in Severity:
            for area in Area:
                loud_count, silent_count = counted.get((severity, area), (0, 0))
                open_.add_metric([severity.value, area.value], loud_count)
                silenced.add_metric([severity.value, area.value], silent_count)
        yield open_
        yield silenced

    def _checks(self) -> Iterator[Metric]:
        labels = ["check", "area"]
        age = GaugeMetricFamily(
            "srvc_check_age_seconds", "Seconds since a check began to run last", labels=labels
        )
        took = GaugeMetricFamily(
            "srvc_check_duration_seconds", "Seconds that a check took last", labels=labels
        )
        state = GaugeMetricFamily(
            "srvc_check_state", "How a check went last: well, found, blind or failed; always 1",
            labels=[*labels, "state"],
        )  # fmt: skip
        for row in CheckResult.objects.defer("memory").order_by("area", "check_name"):
            names = [row.check_name, row.area]
            age.add_metric(names, self._age(row.ran_at))
            took.add_metric(names, row.seconds)
            state.add_metric([*names, row.state], 1)
        yield from (age, took, state)

    def _backups(self) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "srvc_backup_age_seconds", "Age of the last good backup of a kind", labels=["kind"]
        )
        proven = GaugeMetricFamily(
            "srvc_backup_proven_age_seconds",
            "Seconds since a backup of a kind was last proven by a restore",
            labels=["kind"],
        )
        ready = readiness(self._now)
        for name, known in sorted(ready.kinds.items()):
            if known.newest_at is not None:
                age.add_metric([name], self._age(known.newest_at))
                if known.proven_at is not None:
                    proven.add_metric([name], self._age(known.proven_at))
        yield from (age, proven)
        yield from self._readiness(ready)
        due = GaugeMetricFamily(
            "srvc_backup_cadence_seconds", "How often a kind is to be taken", labels=["kind"]
        )
        for kind in plan.plan().kinds.values():
            if kind.cadence:
                due.add_metric([kind.kind], kind.cadence.every.total_seconds())
        yield due

    def _readiness(self, ready: Readiness) -> Iterator[Metric]:
        drill = GaugeMetricFamily("srvc_drill_age_seconds", "Age of the last drill that passed")
        if ready.drilled_at is not None:
            drill.add_metric([], self._age(ready.drilled_at))
        yield drill
        restorable = GaugeMetricFamily(
            "srvc_restorable_age_seconds", "Seconds since the last moment that can be restored"
        )
        if ready.restorable_to is not None:
            restorable.add_metric([], self._age(ready.restorable_to))
        yield restorable
        level = GaugeMetricFamily(
            "srvc_restore_readiness", "Whether a restore is ready: good, warning or bad; always 1",
            labels=["level"],
        )  # fmt: skip
        level.add_metric([ready.level.value], 1)
        yield level

    def _notices(self) -> Iterator[Metric]:
        found = GaugeMetricFamily(
            "srvc_notices", "Messages about findings, by what became of them",
            labels=["channel", "state"],
        )  # fmt: skip
        rows = Notice.objects.exclude(state=NoticeState.SENT).values("channel", "state")
        for row in rows.annotate(count=Count("pk")).order_by("channel", "state"):
            found.add_metric([row["channel"], row["state"]], row["count"])
        yield found

    def _samples(self) -> Iterator[Metric]:
        fresh = Q(metric__in=_SAMPLES, taken_at__gt=self._now - _FRESH)
        # Of the watcher's own row the age is told, and the older it is the more it matters.
        rows = (
            Sample.objects.filter(fresh | Q(metric=METRIC, subject=TICK))
            .order_by("metric", "subject", "-taken_at")
            .distinct("metric", "subject")
        )
        taken: dict[str, list[Sample]] = {}
        for row in rows:
            taken.setdefault(row.metric, []).append(row)
        for metric, (name, what, label) in _SAMPLES.items():
            family = GaugeMetricFamily(name, what, labels=[label] if label else [])
            for row in taken.get(metric, ()):
                family.add_metric([row.subject] if label else [], row.value)
            yield family
        age = GaugeMetricFamily(
            "srvc_watcher_age_seconds", "Seconds since `manage.py watch` ended a tick"
        )
        for row in taken.get(METRIC, ()):
            age.add_metric([], self._age(row.taken_at))
        yield age

    def _age(self, moment: datetime) -> float:
        return max(0.0, (self._now - moment).total_seconds())


def _gauge(name: str, what: str, labels: dict[str, str], value: Any) -> Metric:
    family = GaugeMetricFamily(name, what, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
