"""`manage.py dbstatus`: facts, and what can't be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.utils import timezone

from ops.health.inspection.cron import next_time
from ops.models import Backup, BackupKind, Drill
from ops.models.drills import DrillVerdict
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient

LATE = datetime(2026, 11, 22, 23, 59, 30, tzinfo=UTC)


def test_it_shows_where_things_stand(patient: Patient, manage: Manage) -> None:
    now = timezone.now()
    Backup.objects.using("owner").create(
        name="srvc-night",
        kind=BackupKind.FULL,
        environment="development",
        database=patient.name,
        taken_at=now - timedelta(hours=5),
        size=12_300_000,
    )
    Drill.objects.using("owner").create(subject="srvc-night", verdict=DrillVerdict.PASSED)
    Drill.objects.using("owner").update(started_at=now - timedelta(days=3))
    patient.execute(
        "DELETE FROM django_migrations WHERE app = 'ops' AND name LIKE '0003%'",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('crm', '0999_later', now())",
    )
    ended = manage("dbstatus", "--json")
    assert ended.status == 0
    told = ended.json
    with database.connect(patient.name) as connection:
        major = connection.info.server_version // 10_000
    assert told["version"]["major"] == major
    assert told["place"]["database"] == patient.name
    assert told["uptime"]["seconds"] > 0
    assert (told["role"]["role"], told["role"]["superuser"]) == ("srvc_owner", False)
    assert told["tls"]["used"] is False
    assert told["size"]["bytes"] > 5_000_000
    assert told["size"]["tables"] > 50
    assert 1 <= told["connections"]["used"] <= told["connections"]["maximum"]
    assert [each.split("_")[0] for each in told["migrations"]["waiting"]] == ["ops.0003"]
    assert told["migrations"]["unknown"] == ["crm.0999_later"]
    assert (told["backup"]["name"], told["backup"]["state"]) == ("srvc-night", "taken")
    assert told["drill"]["verdict"] == "passed"
    assert all(datetime.fromisoformat(each["at"]) > now for each in told["schedule"])
    assert "manage.py backup --full" in [each["command"] for each in told["schedule"]]
    assert {each["name"] for each in told["extensions"]} >= {"pg_trgm", "btree_gin"}
    assert told["replication"]["role"] == "primary"

    ended = manage("dbstatus")
    rows = {line[:18].strip(): line[18:].strip() for line in ended.out.splitlines()}
    assert rows["Last backup"] == "5 h ago: full, 12.3 MB, taken (srvc-night)"
    assert rows["Last drill"] == "3 days ago: passed, srvc-night"
    assert "1 waiting (ops.0003_" in rows["Migrations"]
    assert "1 that this code does not know (crm.0999_later)" in rows["Migrations"]


def test_what_can_not_be_seen_is_said(
    patient: Patient,
    manage: Manage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The login of the web process: no pg_monitor, and no right on the catalogue of backups.
    for name, value in connections["default"].settings_dict.items():
        monkeypatch.setitem(connections["owner"].settings_dict, name, value)
    connections["owner"].close()
    ended = manage("dbstatus")
    connections["owner"].close()
    assert ended.status == 0
    words = " ".join(ended.out.split())
    assert "can't be seen by srvc_app" in words
    assert "GRANT pg_monitor TO srvc_app;" in words
    assert "permission denied for table ops_backup" in ended.out
    assert "Signed in as       srvc_app" in ended.out


def test_a_server_that_is_away_is_told_plainly(
    patient: Patient,
    manage: Manage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connections["owner"].settings_dict, "PORT", "1")
    ended = manage("dbstatus")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"CommandError: srvc_owner cannot sign in to {patient.name}")
    assert manage("dbstatus", "elsewhere").status == 2


@pytest.mark.parametrize(
    ("fields", "after", "expected"),
    [
        ("15 * * * *", LATE, datetime(2026, 11, 23, 0, 15, tzinfo=UTC)),
        ("59 23 * * *", LATE, datetime(2026, 11, 23, 23, 59, tzinfo=UTC)),
        ("15 */6 * * *", LATE.replace(hour=6), datetime(2026, 11, 22, 12, 15, tzinfo=UTC)),
        ("0 1 * * 0", LATE, datetime(2026, 11, 29, 1, 0, tzinfo=UTC)),
        ("0 1 * * 7", LATE, datetime(2026, 11, 29, 1, 0, tzinfo=UTC)),
        ("0 3 1 * *", LATE, datetime(2026, 12, 1, 3, 0, tzinfo=UTC)),
        ("0 3 1 * 1", LATE, datetime(2026, 11, 23, 3, 0, tzinfo=UTC)),
        ("0,30 8-9 29 2 *", LATE, datetime(2028, 2, 29, 8, 0, tzinfo=UTC)),
    ],
)
def test_the_next_time_of_a_crontab_line(
    fields: str, after: datetime, expected: datetime, utc: None
) -> None:
    assert next_time(fields, after) == expected


def test_what_never_comes_is_refused(utc: None) -> None:
    for fields in ("0 0 30 2 *", "60 * * * *", "a * * * *", "* * * *"):
        with pytest.raises(ValueError):  # noqa: PT011 (several kinds of nonsense)
            next_time(fields, LATE)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
