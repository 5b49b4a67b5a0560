"""A lost second factor is taken away by an operator, after being asked."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django_otp.plugins.otp_totp.models import TOTPDevice

from crm.models import Account, User
from ops.rls.session import acting_as_admin
from srvc.two_factor import services
from tests.factories import make_business


@pytest.fixture
def owner(fresh_database: str) -> User:
    owner = make_business()
    services.begin_enrolment(owner)
    TOTPDevice.objects.update(confirmed=True)
    services.renew_recovery_codes(owner)
    return owner


def test_it_removes_devices_and_nothing_else(owner: User) -> None:
    out = StringIO()
    call_command("resettwofactor", owner.email.upper(), "--yes", stdout=out)
    assert out.getvalue() == (
        f"2 second factors of {owner.email} are gone; the password is what it was.\n"
    )
    assert not TOTPDevice.objects.exists()
    with acting_as_admin():
        assert Account.objects.count() == 1


def test_another_answer_than_the_address_changes_nothing(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    with pytest.raises(CommandError, match=r"That is another address\. Nothing was changed\."):
        call_command("resettwofactor", owner.email)
    assert TOTPDevice.objects.count() == 1


def test_an_unknown_address_is_said(fresh_database: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("resettwofactor", "nobody@x.example", "--yes")
    assert str(refused.value) == (
        "Nobody signs in with nobody@x.example. Nothing was changed. Check the address."
    )
