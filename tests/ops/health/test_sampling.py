"""Samples: numbers over time, rates between two of them, sizes once a day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from ops.health import sampling
from ops.health.sampling import take_samples
from ops.models import Sample
from ops.postgres.endpoint import Connection, Endpoint
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.get_default_timezone())
MINUTES = timedelta(minutes=5)


@pytest.fixture
def owner(patient: Patient) -> Iterator[Connection]:
    with as_owner_by_default(), closing(Endpoint.of(OWNER).connect()) as connection:
        yield connection


def value(metric: str, at: datetime, subject: str = "") -> float | None:
    row = Sample.objects.filter(metric=metric, subject=subject, taken_at=at).first()
    return row.value if row else None


def set_total(metric: str, number: float) -> None:
    assert Sample.objects.filter(metric=metric, taken_at=NOW).update(value=number) == 1


def test_the_server_the_database_and_the_disks_are_measured(
    patient: Patient, owner: Connection
) -> None:
    number = take_samples(owner, NOW)
    assert number == Sample.objects.count()
    ((size,),) = patient.execute("SELECT pg_database_size(current_database())")
    measured = value("database_bytes", NOW)
    assert measured is not None
    assert abs(measured - size) < 1 << 20
    ((most,),) = patient.execute("SHOW max_connections")
    assert value("connections_maximum", NOW) == int(most)
    connections, wal = value("connections", NOW), value("wal_bytes", NOW)
    assert connections is not None
    assert connections >= 1
    assert wal is not None
    assert wal >= 16 << 20
    ((folder,),) = patient.execute("SHOW data_directory")
    free = value("disk_free_bytes", NOW, folder[-150:])
    total = value("disk_total_bytes", NOW, folder[-150:])
    assert free is not None
    assert total is not None
    assert 0 < free < total
    # Of what happened before there is no stretch to tell of yet.
    assert value("transactions_per_second", NOW) is None
    # The same moment again changes nothing.
    take_samples(owner, NOW)
    assert Sample.objects.filter(metric="database_bytes").count() == 1


def test_rates_are_those_of_the_time_since_the_sample_before(owner: Connection) -> None:
    take_samples(owner, NOW)
    for metric in ("transactions_total", "blocks_hit_total", "blocks_read_total"):
        set_total(metric, 0)
    set_total("deadlocks_total", -2)
    set_total("temporary_bytes_total", -5_000)
    take_samples(owner, NOW + MINUTES)
    at = NOW + MINUTES
    transactions, deadlocks = value("transactions_total", at), value("deadlocks_total", at)
    hit, read = value("blocks_hit_total", at), value("blocks_read_total", at)
    assert transactions is not None
    assert deadlocks is not None
    assert hit is not None
    assert read is not None
    assert value("transactions_per_second", at) == transactions / 300
    assert value("deadlocks", at) == deadlocks + 2
    temporary = value("temporary_bytes_total", at)
    assert temporary is not None
    assert value("temporary_bytes", at) == temporary + 5_000
    assert value("cache_hit_ratio", at) == hit / (hit + read)


@pytest.mark.parametrize(
    ("metric", "number"), [("transactions_total", 1e15), ("statistics_reset_seconds", 5.0)]
)
def test_statistics_that_were_reset_tell_nothing_of_that_stretch(
    owner: Connection, metric: str, number: float
) -> None:
    take_samples(owner, NOW)
    set_total(metric, number)
    take_samples(owner, NOW + MINUTES)
    assert value("transactions_per_second", NOW + MINUTES) is None
    assert value("cache_hit_ratio", NOW + MINUTES) is None
    assert value("transactions_total", NOW + MINUTES) is not None


def test_tables_and_indexes_are_measured_once_a_day_without_waiting_for_a_lock(
    patient: Patient, owner: Connection
) -> None:
    patient.execute(
        "CREATE TABLE public.filled AS SELECT g AS id FROM generate_series(1, 9000) g",
        "CREATE INDEX filled_id ON public.filled (id)",
        "CREATE TABLE public.locked AS SELECT 1 AS id",
    )
    with database.connect(patient.name) as locking, locking.transaction():
        locking.execute("LOCK TABLE public.locked IN ACCESS EXCLUSIVE MODE")
        take_samples(owner, NOW)
    ((table, index),) = patient.execute(
        "SELECT pg_table_size('public.filled'), pg_relation_size('public.filled_id')"
    )
    assert value("table_bytes", NOW, "public.filled") == table
    assert value("index_bytes", NOW, "public.filled_id") == index
    assert value("table_bytes", NOW, "public.locked") is None
    take_samples(owner, NOW + timedelta(hours=23))
    assert value("table_bytes", NOW + timedelta(hours=23), "public.filled") is None
    take_samples(owner, NOW + timedelta(hours=24))
    assert value("table_bytes", NOW + timedelta(hours=24), "public.filled") is not None
    assert value("table_bytes", NOW + timedelta(hours=24), "public.locked") is not None


def test_of_many_tables_the_largest_are_kept_and_what_changed(
    patient: Patient, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_LARGEST", 1)
    patient.execute(
        "CREATE TABLE public.largest AS SELECT repeat('x', 1000) FROM generate_series(1, 9000) g",
        "CREATE TABLE public.changing AS SELECT repeat('x', 1000) FROM generate_series(1, 500) g",
        "CREATE TABLE public.resting AS SELECT repeat('x', 1000) FROM generate_series(1, 500) g",
    )
    # As they were the day before.
    yesterday = NOW - timedelta(days=1)
    for name in ("changing", "resting"):
        ((size,),) = patient.execute(f"SELECT pg_table_size('public.{name}')")
        Sample.objects.create(
            metric="table_bytes", subject=f"public.{name}", taken_at=yesterday, value=size
        )
    patient.execute(
        "INSERT INTO public.changing SELECT repeat('x', 1000) FROM generate_series(1, 2000) g"
    )
    take_samples(owner, NOW)
    kept = Sample.objects.filter(metric="table_bytes", taken_at=NOW)
    assert set(kept.values_list("subject", flat=True)) == {"public.largest", "public.changing"}


def test_a_disk_that_does_not_answer_is_left_out(
    owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hung(place: object) -> None:
        raise sampling.BlindError("The disk did not answer.")

    monkeypatch.setattr(sampling, "disk_of", hung)
    take_samples(owner, NOW)
    assert not Sample.objects.filter(metric="disk_free_bytes").exists()
    assert value("database_bytes", NOW) is not None


def test_who_may_not_see_the_wal_measures_the_rest(patient: Patient) -> None:
    with closing(Endpoint.of("default").connect()) as web, as_owner_by_default():
        assert take_samples(web, NOW) > 0
        assert value("wal_bytes", NOW) is None
        assert value("database_bytes", NOW) is not None
    assert settings.VAR_DIR  # whose disk is measured even so: backups are below it
