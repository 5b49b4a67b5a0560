"""Signed-in browsers of people of two businesses and of the platform."""

from __future__ import annotations

from collections.abc import Callable

import django_otp
import pytest
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from crm.models import User
from crm.services.accounts import add_staff
from ops.rls.session import acting_as_admin
from tests.admin.pages import sign_in
from tests.factories import account_of, make_business

SignIn = Callable[[User], Client]


@pytest.fixture
def owner(db: None) -> User:
    """Return the owner of a business."""
    return make_business("Bright Plumbing", time_zone="America/New_York")


@pytest.fixture
def stranger(db: None) -> User:
    """Return the owner of another business."""
    return make_business("Other Business", currency="EUR", time_zone="Europe/Berlin")


@pytest.fixture
def technician(owner: User) -> User:
    """Return a technician of the first business."""
    with acting_as_admin():
        return add_staff(
            account=account_of(owner),
            email="tina@business.example",
            group="Technician",
            password=None,
            by=None,
        )


@pytest.fixture
def client(owner: User) -> Client:
    """Return the owner's browser."""
    return sign_in(owner)


@pytest.fixture
def platform(db: None) -> Client:
    """Return a platform administrator's browser, past the second factor."""
    with acting_as_admin():
        administrator = User.objects.create_superuser("root@platform.example")
    browser = sign_in(administrator)
    device = TOTPDevice.objects.create(user=administrator, confirmed=True)
    session = browser.session
    session[django_otp.DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    return browser
