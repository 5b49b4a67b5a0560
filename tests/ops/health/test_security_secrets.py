"""Secrets that can be guessed, are used twice or never end are told, and are never shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import checks
from django.utils import timezone

from crm.models import User
from ops.health.checks.secrets import api_keys, deployment, settings_secrets
from ops.models import CheckState, Severity
from ops.rls.router import as_owner_by_default
from tests.ops.health.conftest import Patient

# 32 letters made at random: nothing to complain about.
LONG = "aZ3kQ9_vLw7TtR2xBn5Yc8Gd1Hj4Mp6S"


def use(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    for name, value in values.items():
        monkeypatch.setattr(settings, name, value, raising=False)


@pytest.fixture
def in_order(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Patient:
    """Return the patient, in an environment that serves real people and is in order."""
    use(
        monkeypatch,
        PRODUCTION_LIKE=True,
        SECRET_KEY="s" + LONG,
        BACKUP_SIGNING_KEY="b" + LONG,
        EMAIL_HOST_PASSWORD="",
        METRICS_TOKEN="",
        DEMO_PASSWORD="",
        REPLICATION_URL=f"postgres://srvc_replication:r{LONG}@db/",
        DATABASES={
            alias: {**settings.DATABASES[alias], "PASSWORD": alias + LONG}
            for alias in settings.DATABASES
        },
    )
    return patient


def test_secrets_that_can_be_guessed_or_are_the_same_are_told_and_never_shown(
    in_order: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_order.found(settings_secrets) == {}
    use(
        monkeypatch,
        SECRET_KEY=LONG,
        BACKUP_SIGNING_KEY=LONG,
        EMAIL_HOST_PASSWORD="Postgres",
        METRICS_TOKEN="aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        REPLICATION_URL="postgres://srvc_replication:short1@db/",
        DEMO_PASSWORD="demo",
    )
    found = in_order.found(settings_secrets)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        "weak EMAIL_URL": (Severity.CRITICAL, "EMAIL_URL can be guessed"),
        "weak METRICS_TOKEN": (Severity.CRITICAL, "METRICS_TOKEN can be guessed"),
        "weak DATABASE_REPLICATION_URL": (
            Severity.CRITICAL,
            "DATABASE_REPLICATION_URL can be guessed",
        ),
        "same SECRET_KEY": (
            Severity.WARNING,
            "SECRET_KEY and BACKUP_SIGNING_KEY are the same",
        ),
        "demo": (Severity.WARNING, "DEMO_PASSWORD is set where real people are served"),
    }
    told = " ".join(f"{each.title}{each.detail}{each.next_step}" for each in found.values())
    for secret in (LONG, "Postgres", "short1", "aaaa"):
        assert secret not in told
    monkeypatch.setattr(settings, "PRODUCTION_LIKE", False)
    assert in_order.found(settings_secrets) == {}


def test_what_django_finds_before_a_deployment_is_told_where_people_are_served(
    in_order: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [
        checks.Warning("HSTS is off.", hint="Set HSTS_SECONDS.", id="security.W004"),
        checks.Error("No key.", obj="mail", id="srvc.E002"),
        checks.Info("By the way.", id="srvc.I001"),
        checks.Warning("Known.", id=settings.SILENCED_SYSTEM_CHECKS[0]),
    ]
    asked: list[dict[str, Any]] = []

    def run(**options: Any) -> list[checks.CheckMessage]:
        asked.append(options)
        return messages

    monkeypatch.setattr(checks, "run_checks", run)
    found = in_order.found(deployment)
    assert asked == [{"include_deployment_checks": True}]
    assert {key: each.severity for key, each in found.items()} == {
        "security.W004": Severity.WARNING,
        "srvc.E002 mail": Severity.CRITICAL,
    }
    told = found["security.W004"]
    assert (told.title, told.detail, told.next_step) == (
        "security.W004: HSTS is off.",
        "HSTS is off. Set HSTS_SECONDS.",
        "manage.py check --deploy",
    )
    monkeypatch.setattr(settings, "PRODUCTION_LIKE", False)
    assert in_order.found(deployment) == {}


def test_djangos_own_checks_are_asked(in_order: Patient) -> None:
    assert "security.W008" in in_order.found(deployment)


def test_keys_that_nobody_uses_or_that_never_end_are_told(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_otp.plugins.otp_totp.models import TOTPDevice

    now = timezone.now()
    with as_owner_by_default():
        user = User.objects.create_superuser("admin@example.com", "secret")
        old, new, never = (
            TOTPDevice.objects.create(
                user=user, last_used_at=used, throttling_failure_timestamp=end
            )
            for used, end in (
                (now - timedelta(days=91), now + timedelta(days=1)),
                (now - timedelta(days=89), None),
                (None, now + timedelta(days=1)),
            )
        )
        TOTPDevice.objects.create(user=user, throttling_failure_timestamp=now - timedelta(days=1))
    assert patient.found(api_keys) == {}
    monkeypatch.setattr(
        settings,
        "HEALTH_KEY_MODELS",
        ["otp_totp.TOTPDevice:last_used_at:throttling_failure_timestamp"],
    )
    found = patient.found(api_keys)
    assert {key: (each.severity, each.title) for key, each in found.items()} == {
        f"otp_totp.TOTPDevice {pk}": (Severity.WARNING, f"The TOTP device {pk} {what}")
        for pk, what in (
            (old.pk, "was not used for 90 days"),
            (new.pk, "never ends"),
            (never.pk, "was never used"),
        )
    }
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(api_keys) == {}


def test_a_model_of_keys_that_is_not_there_is_told(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry in ("api.Key:used:ends", "crm.User:used_last:", "crm"):
        monkeypatch.setattr(settings, "HEALTH_KEY_MODELS", [entry])
        outcome = patient.run(api_keys)
        assert outcome.state == CheckState.BLIND
        assert (
            f"HEALTH_KEY_MODELS names '{entry}', which is not there" in outcome.reported[0].detail
        )
