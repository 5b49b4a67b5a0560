"""Businesses and their people."""

import pytest
from django.contrib.auth.backends import ModelBackend
from django.db import IntegrityError, transaction

from crm.errors import CrmError
from crm.models import Account, User
from crm.services.accounts import add_staff, create_account
from ops.rls.session import acting_as_admin
from tests.factories import account_of, make_business

pytestmark = pytest.mark.django_db


def test_an_account_has_its_owners_id_and_the_owner_the_owners_rights() -> None:
    owner = make_business("Pipes & Co")
    account = account_of(owner)
    assert (account.pk, account.name) == (owner.pk, "Pipes & Co")
    assert owner.has_perm("crm.add_invoice")
    assert not owner.has_perm("billing.change_subscriptionplan")
    assert not owner.is_platform_administrator


def test_e_mail_addresses_are_one_in_any_case_of_letters() -> None:
    make_business(email="Owner@Pipes.example", password="a long pass phrase")
    with acting_as_admin(), pytest.raises(CrmError, match="signs in with this e-mail"):
        create_account(email="owner@pipes.EXAMPLE", name="Other", password=None, by=None)
    user = ModelBackend().authenticate(
        None, username="OWNER@pipes.example", password="a long pass phrase"
    )
    assert user is not None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("email", "nobody", "'nobody' is no e-mail address"),
        ("time_zone", "Mars/Base", "Mars/Base is not a time zone"),
        ("currency", "XXX", "Value 'XXX' is not a valid choice"),
        ("name", "", "This field cannot be blank"),
    ],
)
def test_a_bad_value_creates_nothing(field: str, value: str, message: str) -> None:
    arguments = {"email": "new@pipes.example", "name": "Pipes", "password": None, "by": None}
    with acting_as_admin():
        with pytest.raises(CrmError, match=message):
            create_account(**{**arguments, field: value})  # type: ignore[arg-type]
        assert not Account.objects.exists()
        assert not User.objects.exists()


def test_staff_share_the_account_and_differ_by_group() -> None:
    owner = make_business()
    with acting_as_admin():
        technician = add_staff(
            account=account_of(owner),
            email="tech@pipes.example",
            group="Technician",
            password=None,
            by=owner,
        )
    assert technician.account_id == owner.account_id
    assert technician.has_perm("crm.change_job")
    assert not technician.has_perm("crm.view_invoice")
    assert not technician.has_usable_password()


def test_a_superuser_belongs_to_no_account() -> None:
    owner = make_business()
    with (
        acting_as_admin(),
        pytest.raises(IntegrityError, match="user_superuser_has_no_account"),
        transaction.atomic(),
    ):
        User.objects.filter(pk=owner.pk).update(is_superuser=True)
