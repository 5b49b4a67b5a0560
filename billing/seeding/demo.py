"""The demo: businesses with their plans and people, and somebody to run the platform."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.db import connection, transaction

from billing.errors import BillingError
from billing.seeding.bulk import LOCK
from billing.services.accounts import generate_password, open_account
from crm.models import OFFICE_GROUP, TECHNICIAN_GROUP, User
from crm.seeding.demo.businesses import BUSINESSES, Business
from crm.seeding.demo.story import tell
from crm.services.accounts import add_staff
from ops.rls.session import acting_as, acting_as_admin

OWNER_EMAIL = BUSINESSES[0].email("owner")
ADMINISTRATOR_EMAIL = "admin@demo.example"
_VIA = "seed --scale demo"


@dataclass(frozen=True)
class LoadedDemo:
    """What was loaded; the password only if it was made up here."""

    businesses: tuple[str, ...]
    generated_password: str | None


def is_loaded() -> bool:
    """Whether the demo is there already: its first owner is, and a load is all or nothing."""
    return User.objects.filter(email=OWNER_EMAIL).exists()


@transaction.atomic
def load_demo(*, seed: int, today: datetime.date | None, password: str = "") -> LoadedDemo:
    """Write the demo through the services, in one transaction.

    Without a password one is made up. Raises BillingError when the demo is there already.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
    if is_loaded():
        raise BillingError("The demo is loaded already. Nothing was changed.")
    generated = None if password else generate_password()
    secret = generated or password
    for business in BUSINESSES:
        _load_business(business, seed=seed, today=today, password=secret)
    with acting_as_admin(via=_VIA):
        if not User.objects.filter(email=ADMINISTRATOR_EMAIL).exists():
            User.objects.create_superuser(
                ADMINISTRATOR_EMAIL, secret, first_name="Robin", last_name="Platform"
            )
    return LoadedDemo(tuple(business.name for business in BUSINESSES), generated)


def _load_business(
    business: Business, *, seed: int, today: datetime.date | None, password: str
) -> None:
    owner_name, office_name, technician_name = business.people
    with acting_as_admin(via=_VIA):
        account = open_account(
            email=business.email("owner"),
            name=business.name,
            plan=business.plan,
            password=password,
            currency=business.country.currency,
            time_zone=business.country.time_zone,
            phone_region=business.country.code,
            by=None,
        ).account
        account.prices_include_tax = business.prices_include_tax
        account.save(update_fields=["prices_include_tax"])
        owner = account.user
        owner.first_name, owner.last_name = owner_name
        owner.save(update_fields=["first_name", "last_name"])
        staff = [
            add_staff(
                account=account,
                email=business.email(role),
                group=group,
                password=password,
                first_name=name[0],
                last_name=name[1],
                by=owner,
            )
            for role, group, name in (
                ("office", OFFICE_GROUP, office_name),
                ("technician", TECHNICIAN_GROUP, technician_name),
            )
        ]
    with acting_as(owner, via=_VIA):
        tell(business, account=account, owner=owner, technician=staff[1], seed=seed, today=today)
