"""What health remembers stays bounded, however long it has been at work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ops.health.retention import prune
from ops.models import (
    EventKind,
    Finding,
    FindingEvent,
    Notice,
    Run,
    RunKind,
    RunStatus,
    Sample,
    Statement,
    StatementSample,
)
from ops.rls.router import as_owner_by_default
from tests.ops.health.conftest import Patient

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MIDNIGHT = NOW - 12 * HOUR
# What is kept whole begins two days before the day that is not over; what is kept by the hour, 30.
WHOLE, HOURLY, ALL = MIDNIGHT - 2 * DAY, MIDNIGHT - 30 * DAY, NOW - 400 * DAY


@pytest.fixture(autouse=True)
def as_owner(patient: Patient) -> Iterator[None]:
    with as_owner_by_default():
        yield


def every_five_minutes(patient: Patient, metric: str, days: int) -> None:
    patient.execute(
        "INSERT INTO ops_sample (metric, subject, taken_at, value)"
        f" SELECT '{metric}', '', at, extract(minute FROM at) FROM generate_series("
        f"'{NOW - days * DAY}'::timestamptz, '{NOW}', interval '5 minutes') at"
    )


def test_a_year_and_more_of_numbers_becomes_a_few_thousand(patient: Patient) -> None:
    every_five_minutes(patient, "database_bytes", 430)
    prune(NOW)
    taken = Sample.objects.all()
    whole = taken.filter(taken_at__gte=WHOLE).count()
    hourly = taken.filter(taken_at__gte=HOURLY, taken_at__lt=WHOLE).count()
    daily = taken.filter(taken_at__lt=HOURLY).count()
    assert whole == (2 * 24 + 12) * 12 + 1
    assert hourly == 28 * 24
    assert daily == 400 - 30
    assert taken.earliest("taken_at").taken_at >= ALL
    # Again, and a day later, nothing is done to what is one already.
    before = set(taken.filter(taken_at__lt=HOURLY + DAY).values_list("pk", flat=True))
    prune(NOW)
    assert before == set(taken.filter(taken_at__lt=HOURLY + DAY).values_list("pk", flat=True))


def test_levels_are_averaged_amounts_added_up_and_of_sizes_the_last_one_stays(
    patient: Patient,
) -> None:
    for metric in ("cache_hit_ratio", "deadlocks", "database_bytes", "blocks_hit_total"):
        every_five_minutes(patient, metric, 4)
    prune(NOW)
    hour = WHOLE - HOUR
    kept = Sample.objects.filter(taken_at__gte=hour, taken_at__lt=WHOLE)
    assert {each.metric: each.value for each in kept} == {
        "cache_hit_ratio": 27.5,
        "deadlocks": 330.0,
        "database_bytes": 55.0,
        "blocks_hit_total": 55.0,
    }
    assert {each.taken_at for each in kept} == {WHOLE - timedelta(minutes=5)}


def test_costs_of_statements_are_added_up_and_forgotten_with_them(patient: Patient) -> None:
    patient.execute(
        "INSERT INTO ops_statement (query_id, role, text, first_seen, last_seen, counters)"
        f" VALUES ('1', 'srvc_app', 'SELECT 1', '{NOW - 99 * DAY}', '{NOW}', '{{}}'),"
        f" ('2', 'srvc_app', 'SELECT 2', '{NOW - 99 * DAY}', '{NOW - 91 * DAY}', '{{}}')",
        "INSERT INTO ops_statementsample (statement_id, since, taken_at, calls, milliseconds,"
        " rows, blocks_hit, blocks_read, blocks_written_temporarily)"
        " SELECT s.id, at - interval '5 minutes', at, 2, 1.5, 3, 4, 5, 6 FROM ops_statement s,"
        f" generate_series('{WHOLE - HOUR}'::timestamptz, '{WHOLE}', interval '5 minutes') at",
    )
    prune(NOW)
    assert [each.query_id for each in Statement.objects.all()] == ["1"]
    summed, whole = StatementSample.objects.order_by("taken_at")
    assert (whole.taken_at, whole.calls) == (WHOLE, 2)
    assert (summed.since, summed.taken_at) == (
        WHOLE - HOUR - timedelta(minutes=5),
        WHOLE - timedelta(minutes=5),
    )
    assert (summed.calls, summed.milliseconds, summed.rows) == (24, 18.0, 36)
    assert (summed.blocks_hit, summed.blocks_read) == (48, 60)
    assert summed.blocks_written_temporarily == 72


def finding(key: str, opened: datetime, resolved: datetime | None) -> Finding:
    made = Finding.objects.create(
        check_name="tried", key=key, area="storage", severity="critical", title=key,
        first_seen=opened, opened_at=opened, last_seen=opened, resolved_at=resolved,
    )  # fmt: skip
    for kind, at in ((EventKind.OPENED, opened), (EventKind.ACKNOWLEDGED, opened + HOUR)):
        event = FindingEvent.objects.create(finding=made, kind=kind, severity="critical", at=at)
        Notice.objects.create(event=event, channel="email", due_at=at)
    return made


def test_findings_that_are_gone_for_long_go_and_what_is_open_stays_with_its_beginning() -> None:
    finding("long gone", NOW - 500 * DAY, NOW - 401 * DAY)
    finding("gone", NOW - 500 * DAY, NOW - 399 * DAY)
    finding("open", NOW - 500 * DAY, None)
    finding("new", NOW - DAY, None)
    prune(NOW)
    assert set(Finding.objects.values_list("key", flat=True)) == {"gone", "open", "new"}
    left = FindingEvent.objects.order_by("finding__key", "at")
    assert [(each.finding.key, each.kind) for each in left] == [
        ("new", "opened"),
        ("new", "acknowledged"),
        ("open", "opened"),
    ]
    assert Notice.objects.count() == 3


def test_runs_of_checks_go_after_a_month_and_other_runs_stay() -> None:
    for kind, status, days in (
        (RunKind.HEALTH, RunStatus.DONE, 31),
        (RunKind.HEALTH, RunStatus.QUEUED, 31),
        (RunKind.HEALTH, RunStatus.DONE, 29),
        (RunKind.BACKUP, RunStatus.DONE, 31),
    ):
        run = Run.objects.create(kind=kind, status=status)
        Run.objects.filter(pk=run.pk).update(asked_at=NOW - days * DAY)
    prune(NOW)
    left = Run.objects.order_by("asked_at", "pk").values_list("kind", "status")
    assert sorted(left) == [("backup", "done"), ("health", "done"), ("health", "queued")]
