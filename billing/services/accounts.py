"""A business on the platform: its account, its owner's sign-in and its plan, all or nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import phonenumbers
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from billing.errors import BillingError
from billing.models import UserSubscription
from billing.services.subscriptions import plan_on_offer, subscribe
from crm.models import Account, User
from crm.services.accounts import create_account

# Without look-alikes: the password is read off a screen.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class OpenedAccount:
    """What was made, with the password if it was made up here: it is shown once, stored never."""

    account: Account
    subscription: UserSubscription
    generated_password: str | None


@transaction.atomic
def open_account(
    *,
    email: str,
    plan: str,
    by: User | None,
    name: str = "",
    password: str | None = None,
    currency: str = "USD",
    time_zone: str = "UTC",
    phone_region: str = "US",
) -> OpenedAccount:
    """Make a business with its owner and a plan on trial. Runs as the platform.

    Without a name the business is called by its address's first part; without a password one is
    made up. Raises BillingError or CrmError for what can't be made, and nothing is.
    """
    plan_on_offer(plan)
    if phone_region not in phonenumbers.SUPPORTED_REGIONS:
        raise BillingError(
            f"{phone_region!r} is no country code such as US or DE. Nothing was created."
        )
    if password is not None:
        _require_good(password, User(email=email))
    generated = None if password is not None else generate_password()
    account = create_account(
        email=email,
        name=name or email.partition("@")[0],
        password=password or generated,
        by=by,
        currency=currency,
        time_zone=time_zone,
        phone_region=phone_region,
    )
    subscription = subscribe(account=account, plan=plan, by=by)
    return OpenedAccount(account, subscription, generated)


def generate_password() -> str:
    """A password of 79 bits that can be read out: four groups of four letters or digits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
    return "-".join(groups)


def _require_good(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise BillingError(f"{' '.join(error.messages)} Nothing was created.") from None
