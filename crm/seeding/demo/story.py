"""One demo business from its account onwards."""

from __future__ import annotations

import datetime
import zoneinfo
from random import Random

from django.utils import timezone

from crm.models import Account, User
from crm.seeding.demo.businesses import Business
from crm.seeding.demo.cast import Cast
from crm.seeding.demo.present import tell_jobs, tell_quotes
from crm.seeding.demo.year import tell_year


def tell(
    business: Business,
    *,
    account: Account,
    owner: User,
    technician: User,
    seed: int,
    today: datetime.date | None,
) -> None:
    """Write a business's products, customers and year, acting as its owner.

    Without a day given, today is what the calendar says where the business is.
    """
    zone = zoneinfo.ZoneInfo(account.time_zone)
    cast = Cast(
        business,
        account,
        owner,
        technician,
        Random(f"{seed}/{business.domain}"),  # noqa: S311 (made-up rows)
        today or timezone.now().astimezone(zone).date(),
    )
    cast.make_products()
    cast.make_customers()
    tell_year(cast)
    tell_quotes(cast)
    tell_jobs(cast)
