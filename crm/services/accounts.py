"""Writes on accounts and their people."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from crm.errors import CrmError
from crm.models import OWNER_GROUP, Account, User
from crm.services.refusals import told_by_the_database


@told_by_the_database
@transaction.atomic
def create_account(
    *,
    email: str,
    name: str,
    password: str | None,
    by: User | None,
    currency: str = "USD",
    time_zone: str = "UTC",
    phone_region: str = "US",
) -> Account:
    """Make a business and its owner's sign-in. Without a password the owner sets one by e-mail.

    Raises CrmError for an address that is none or that somebody signs in with already.
    """
    try:
        validate_email(email)
    except ValidationError:
        raise CrmError(f"{email!r} is no e-mail address. Nothing was created.") from None
    owner = User.objects.create_user(email, password)
    account = Account(
        user=owner, name=name, currency=currency, time_zone=time_zone, phone_region=phone_region
    )
    try:
        account.full_clean(exclude=["user"])
    except ValidationError as error:
        raise CrmError(f"{' '.join(error.messages)} Nothing was created.") from None
    account.save(force_insert=True)
    owner.account = account
    owner.save(update_fields=["account"])
    owner.groups.add(Group.objects.get(name=OWNER_GROUP))
    return account


@told_by_the_database
@transaction.atomic
def create_administrator(
    *,
    email: str,
    password: str,
    by: User | None,
    first_name: str = "",
    last_name: str = "",
) -> User:
    """Make a platform administrator: a person without an account, and with every right.

    Raises CrmError for an address that is none or that somebody signs in with already, and for a
    password that could be guessed. A person who is there is never promoted.
    """
    try:
        validate_email(email)
    except ValidationError:
        raise CrmError(f"{email!r} is no e-mail address. Nothing was created.") from None
    try:
        validate_password(password, User(email=email, first_name=first_name, last_name=last_name))
    except ValidationError as error:
        raise CrmError(f"{' '.join(error.messages)} Nothing was created.") from None
    return User.objects.create_superuser(
        email, password, first_name=first_name, last_name=last_name
    )


@told_by_the_database
@transaction.atomic
def add_staff(
    *,
    account: Account,
    email: str,
    group: str,
    password: str | None,
    by: User | None,
    first_name: str = "",
    last_name: str = "",
) -> User:
    """Let a person of the business sign in, with the rights of a group."""
    user = User.objects.create_user(
        email, password, account=account, first_name=first_name, last_name=last_name
    )
    user.groups.add(Group.objects.get(name=group))
    return user
