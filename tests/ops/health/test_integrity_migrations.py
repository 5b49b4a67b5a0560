"""Migrations that only the code or only the database knows are found, and those out of order."""

from __future__ import annotations

import pytest
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ops.health.checks.migrations import migrations
from ops.models import CheckState, Severity
from tests.ops.health.conftest import Patient


def test_a_migrated_database_has_what_the_code_has(patient: Patient) -> None:
    assert patient.found(migrations) == {}


def test_migrations_that_were_not_applied(patient: Patient) -> None:
    patient.execute("DELETE FROM django_migrations WHERE (app, name) = ('crm', '0001_initial')")
    found = patient.found(migrations)
    told = found["crm unapplied"]
    assert (told.severity, told.title) == (
        Severity.CRITICAL, "Migrations of crm are not applied",
    )  # fmt: skip
    assert told.detail.startswith("0001_initial. The code expects what they make")
    assert told.next_step == "manage.py migrate crm"
    early = found["crm.0002_groups_and_policies early"]
    assert early.title == ("crm.0002_groups_and_policies is applied, and what it builds on is not")
    assert "crm.0001_initial" in early.detail
    assert early.severity == Severity.CRITICAL
    patient.execute(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('crm', '0001_initial', now())"
    )
    assert patient.found(migrations) == {}


def test_migrations_that_the_code_does_not_have(patient: Patient) -> None:
    patient.execute(
        "INSERT INTO django_migrations (app, name, applied)"
        " VALUES ('crm', '0999_later', now()), ('gone', '0001_initial', now())"
    )
    found = patient.found(migrations)
    assert {key: each.severity for key, each in found.items()} == {
        "crm unknown": Severity.WARNING,
        "gone unknown": Severity.WARNING,
    }
    assert found["crm unknown"].title == (
        "The database had migrations of crm that the code does not have"
    )
    assert found["crm unknown"].detail.startswith("0999_later. Either the code is older")


def test_a_squashed_migration_is_applied_once_all_that_it_replaces_is(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = MigrationLoader(None, ignore_no_migrations=True)
    squashed = Migration("0001_squashed", "crm")
    replaced = [("crm", "0001_initial"), ("crm", "0002_groups_and_policies")]
    monkeypatch.setattr(squashed, "replaces", replaced)
    code.disk_migrations["crm", "0001_squashed"] = squashed
    code.graph.add_node(("crm", "0001_squashed"), squashed)
    monkeypatch.setattr("ops.health.checks.migrations.of_the_code", lambda: code)
    monkeypatch.setattr("ops.health.checks.migrations.names_of_the_code", frozenset)
    assert patient.found(migrations) == {}
    replaced.append(("crm", "0099_more"))
    assert patient.found(migrations)["crm unapplied"].detail.startswith("0001_squashed. ")


def test_a_database_without_any_migration_is_not_taken_for_a_healthy_one(patient: Patient) -> None:
    patient.execute("DROP TABLE django_migrations")
    outcome = patient.run(migrations)
    assert outcome.state == CheckState.BLIND
    assert outcome.reported[0].next_step == "manage.py migrate"
    assert "The database has had no migration at all" in outcome.reported[0].detail
