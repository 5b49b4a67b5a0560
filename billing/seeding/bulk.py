"""A bulk scale: the accounts and their work by COPY, and a subscription for each."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from django.db import connections, transaction

from billing.errors import BillingError
from billing.models import SubscriptionPlan, SubscriptionStatus
from crm.models import User
from crm.seeding.bulk.accounts import SeededAccount
from crm.seeding.bulk.copying import Copier, text_line
from crm.seeding.bulk.load import SEEDED_TABLES, load
from crm.seeding.progress import Progress
from crm.seeding.scales import Scale
from ops.rls.router import OWNER_ALIAS

# Two loads at once would write the same owners: the second waits, and then finds the first's.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('srvc seed'))"


def is_loaded(scale: Scale) -> bool:
    """Whether the scale is there already: its first owner is, and a load is all or nothing."""
    owners = User.objects.using(OWNER_ALIAS)
    return owners.filter(email=scale.owner_email(0)).exists()


def load_scale(scale: Scale, *, seed: int, today: datetime.date, progress: Progress) -> None:
    """Write a scale in one transaction as the owner's login; stopped, it leaves nothing behind.

    Raises BillingError when the scale is there already.
    """
    connection = connections[OWNER_ALIAS]
    with transaction.atomic(using=OWNER_ALIAS), connection.cursor() as cursor:
        cursor.execute(LOCK)
        if is_loaded(scale):
            raise BillingError(f"The scale {scale.name} is loaded already. Nothing was changed.")
        cursor.execute("SELECT set_config('app.via', %s, true)", [f"seed --scale {scale.name}"])
        accounts = load(cursor.cursor, scale, seed=seed, today=today, progress=progress)
        _subscribe(Copier(cursor.cursor, progress), accounts, today)
    with connection.cursor() as cursor:
        # A planner without statistics picks the wrong index.
        cursor.execute(f"ANALYZE {', '.join(SEEDED_TABLES)}, user_subscriptions")


def _subscribe(copier: Copier, accounts: Iterable[SeededAccount], today: datetime.date) -> None:
    """Give each account the smallest plan that holds its customers, paid for this month."""
    plans = SubscriptionPlan.objects.using(OWNER_ALIAS).on_offer().order_by("price", "id")
    limits = list(plans.values_list("pk", "max_customers"))
    start = today.replace(day=1)
    end = (start + datetime.timedelta(days=32)).replace(day=1)

    def plan(customers: int) -> int:
        fitting = (pk for pk, limit in limits if limit is None or customers <= limit)
        return next(fitting, limits[-1][0])

    copier.copy(
        "user_subscriptions",
        ("user_id", "plan_id", "status", "current_period_start", "current_period_end"),
        (
            text_line((account.id, plan(account.customers), SubscriptionStatus.ACTIVE, start, end))
            for account in accounts
        ),
    )
