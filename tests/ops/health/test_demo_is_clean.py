"""Nothing is wrong with a database that was just made and filled by our own hands."""

from __future__ import annotations

import datetime

import pytest
from django.conf import settings

from billing.seeding.demo import load_demo
from ops.backups.physical import OLDEST_MAJOR
from ops.health.look import look_at
from ops.health.selection import all_checks
from ops.postgres.endpoint import Endpoint
from tests.ops.health.conftest import Patient


def test_no_check_reports_anything_about_the_demo_database(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Endpoint.of("owner").major < OLDEST_MAJOR:  # base backups can't be taken, which is told
        monkeypatch.setattr(settings, "REPLICATION_URL", "")
    today = datetime.datetime.now(datetime.UTC).date()
    load_demo(seed=1, today=today, password="of nobody at all")
    # As autovacuum leaves it.
    patient.execute("VACUUM (ANALYZE)")
    for deep in (False, True):
        found = look_at(all_checks(), deep=deep)
        assert found.not_recorded == ""
        reported = {
            (outcome.check.name, each.key): f"{each.title} {each.detail}"
            for outcome in found.outcomes
            for each in outcome.reported
            # What the server of tests does on purpose (tests/settings.py).
            if f"{outcome.check.name}:{each.key}" not in settings.HEALTH_ACCEPTED
        }
        assert reported == {}
        assert found.worst is None
    others = "check_name <> 'server_settings'"
    assert patient.execute(f"SELECT count(*) FROM ops_finding WHERE {others}") == [(0,)]
    seen = patient.execute(
        f"SELECT count(*) FROM ops_checkresult WHERE state = 'well' AND {others}"
    )
    assert seen == [(len(all_checks()) - 1,)]
