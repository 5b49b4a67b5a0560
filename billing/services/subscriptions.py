"""Writes on subscriptions."""

from __future__ import annotations

import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from billing.errors import BillingError
from billing.models import SubscriptionPlan, SubscriptionStatus, UserSubscription
from crm.models import Account, User

TRIAL_DAYS = 14


@transaction.atomic
def subscribe(
    *,
    account: Account,
    plan: str,
    by: User | None,
    now: datetime.datetime | None = None,
    trial_days: int = TRIAL_DAYS,
) -> UserSubscription:
    """Give an account its first plan, on trial for so many days from now.

    `plan` is a plan's code. Runs as the platform: members may not write subscriptions. Raises
    BillingError for a plan that is not on offer, for an account that has a subscription, and for
    a trial of less than a day.
    """
    if trial_days < 1:
        raise BillingError(f"A trial of {trial_days} days is none. Nothing was changed.")
    start = now or timezone.now()
    end = start + datetime.timedelta(days=trial_days)
    chosen = plan_on_offer(plan)
    try:
        with transaction.atomic():
            return UserSubscription.objects.create(
                account=account,
                plan=chosen,
                status=SubscriptionStatus.TRIALING,
                current_period_start=start,
                current_period_end=end,
                trial_end=end,
            )
    except IntegrityError:
        if not UserSubscription.objects.filter(account=account).exists():
            raise
        raise BillingError(f"{account} has a subscription already. Nothing was changed.") from None


def plan_on_offer(code: str) -> SubscriptionPlan:
    """The plan of that code. Raises BillingError, naming the plans there are, for any other."""
    plans = SubscriptionPlan.objects.on_offer()
    found = plans.filter(code=code).first()
    if found is None:
        codes = ", ".join(plans.values_list("code", flat=True)) or "none"
        raise BillingError(
            f"There is no plan {code!r} on offer. Nothing was created; the plans are: {codes}."
        )
    return found
