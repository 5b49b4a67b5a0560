"""Who may still sign in, who has no second factor and who tries passwords is told by name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.utils import timezone

from crm.models import User
from crm.models.users import (
    AUDITOR_GROUP,
    OFFICE_GROUP,
    OWNER_GROUP,
    PLATFORM_ADMINISTRATOR_GROUP,
)
from crm.security_checks import failed_sign_ins, missing_second_factors, stale_staff
from ops.models import Severity
from ops.rls.router import as_owner_by_default
from tests.factories import make_business
from tests.ops.health.conftest import Patient
from tests.ops.health.stepping import take

NOW = timezone.now()
LONG_AGO = NOW - timedelta(days=200)


def test_people_who_no_longer_sign_in_are_told(patient: Patient) -> None:
    with as_owner_by_default():
        owner = make_business()
        admin = User.objects.create_superuser("admin@example.com", "secret")
        joined = {"date_joined": LONG_AGO}
        User.objects.create_user("left@example.com", "secret", is_active=False, **joined)
        User.objects.create_user("unable@example.com", None, **joined)
        assert patient.found(stale_staff) == {}
        User.objects.filter(pk=owner.pk).update(date_joined=LONG_AGO, last_login=LONG_AGO)
        User.objects.filter(pk=admin.pk).update(date_joined=LONG_AGO)
    found = patient.found(stale_staff)
    assert {key: each.severity for key, each in found.items()} == {
        f"user {admin.pk}": Severity.WARNING,
        f"user {owner.pk}": Severity.INFO,
    }
    told = found[f"user {admin.pk}"]
    assert told.title == "admin@example.com may sign in and has not for 180 days"
    assert told.detail.startswith(
        "The account is active and never signed in. It sees every business's rows."
    )
    assert f"last signed in on {LONG_AGO:%Y-%m-%d}" in found[f"user {owner.pk}"].detail
    assert patient.found(stale_staff, stale_staff_days=201) == {}
    # Nobody is left who could let them in again: one gets a password, the other is looked at.
    assert told.next_step.startswith("manage.py changepassword ")
    take(patient, found[f"user {owner.pk}"].next_step)
    assert patient.found(stale_staff).keys() == found.keys()
    with as_owner_by_default():
        User.objects.create_superuser("another@example.com", "secret")
        partner = User.objects.create_user("partner@example.com", "secret", account=owner.account)
        partner.groups.add(Group.objects.get(name=OFFICE_GROUP))
    # Who works there and manages nobody can't let the owner in again.
    assert patient.found(stale_staff)[f"user {owner.pk}"].next_step.startswith("SELECT ")
    with as_owner_by_default():
        partner.groups.add(Group.objects.get(name=OWNER_GROUP))
    for each in patient.found(stale_staff).values():
        take(patient, each.next_step)
    assert patient.found(stale_staff) == {}
    with as_owner_by_default():
        assert set(User.objects.filter(is_active=True).values_list("email", flat=True)) == {
            "another@example.com", "partner@example.com", "unable@example.com",
        }  # fmt: skip


def test_the_platforms_people_need_a_second_factor_where_one_is_required(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with as_owner_by_default():
        make_business()
        people = [
            User.objects.create_user(f"{name}@example.com", "secret")
            for name in ("administrator", "auditor", "safe")
        ]
    administrator, auditor, safe = (person.pk for person in people)
    patient.execute(
        *(
            f"INSERT INTO users_groups (user_id, group_id) SELECT {pk}, id FROM auth_group"
            f" WHERE name = '{group}'"
            for pk, group in (
                (administrator, PLATFORM_ADMINISTRATOR_GROUP),
                (auditor, AUDITOR_GROUP),
                (safe, PLATFORM_ADMINISTRATOR_GROUP),
            )
        )
    )
    with as_owner_by_default():
        from django_otp.plugins.otp_totp.models import TOTPDevice

        TOTPDevice.objects.create(user_id=safe, confirmed=True)
        TOTPDevice.objects.create(user_id=auditor, confirmed=False)
    assert patient.found(missing_second_factors) == {}
    monkeypatch.setattr(settings, "REQUIRE_TWO_FACTOR", True)
    found = patient.found(missing_second_factors)
    assert {key: each.severity for key, each in found.items()} == dict.fromkeys(
        [f"user {administrator}", f"user {auditor}"], Severity.WARNING
    )
    assert found[f"user {administrator}"].title == (
        "administrator@example.com sees every account and has no second factor"
    )
    for each in found.values():
        take(patient, each.next_step)
    assert patient.found(missing_second_factors) == {}
    assert patient.execute("SELECT id FROM users WHERE is_active AND account_id IS NULL") == [
        (safe,)
    ]


def test_the_only_administrator_is_never_shut_out_by_a_next_step(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "REQUIRE_TWO_FACTOR", True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "another long pass phrase")
    with as_owner_by_default():
        for name in ("first", "second"):
            User.objects.create_superuser(f"{name}@example.com", "secret")
    patient.execute("UPDATE users SET date_joined = now() - interval '300 days'")
    before = patient.execute("SELECT id, password FROM users ORDER BY id")
    # Neither has a second factor, or has signed in lately: whoever is closed first, the other
    # would be closed by the second step.
    for check in (missing_second_factors, stale_staff):
        found = patient.found(check)
        assert len(found) == 2
        for each in found.values():
            take(patient, each.next_step)
    assert patient.execute("SELECT count(*) FROM users WHERE is_active") == [(2,)]
    after = patient.execute("SELECT id, password FROM users ORDER BY id")
    assert not set(before) & set(after)  # and whoever knew a password knows it no longer


def test_bursts_of_failed_sign_ins_are_told_by_address(patient: Patient) -> None:
    insert = (
        "INSERT INTO axes_accessattempt (user_agent, ip_address, username, http_accept, path_info,"
        " attempt_time, get_data, post_data, failures_since_start) VALUES"
        " ('', '{}', '{}', '', '', now() - interval '{} minutes', '', '', {})"
    )
    patient.execute(
        *(insert.format("192.0.2.1", f"a{number}@example.com", 5, 5) for number in range(4)),
        *(insert.format(f"192.0.2.{number}", "owner@example.com", 5, 5) for number in range(2, 7)),
        insert.format("198.51.100.1", "late@example.com", 61, 500),
        insert.format("198.51.100.2", "few@example.com", 1, 19),
    )
    found = patient.found(failed_sign_ins)
    assert {key: each.severity for key, each in found.items()} == dict.fromkeys(
        ["network address 192.0.2.1", "e-mail address owner@example.com"], Severity.WARNING
    )
    address = found["network address 192.0.2.1"]
    assert address.title == "20 failed sign-ins from the network address 192.0.2.1"
    assert address.detail.startswith("Within 60 minutes, with 4 e-mail addresses. Sign-in is")
    assert len(patient.execute(address.next_step)) == 4
    owner = found["e-mail address owner@example.com"]
    assert owner.title == "25 failed sign-ins for the e-mail address owner@example.com"
    assert len(patient.execute(owner.next_step)) == 5
    assert patient.found(failed_sign_ins, failed_sign_ins=26) == {}
