"""Giving an account its plan."""

import datetime as dt

import pytest
from django.db import ProgrammingError

from billing.errors import BillingError
from billing.models import SubscriptionPlan, UserSubscription
from billing.services.subscriptions import subscribe
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import make_business

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def test_the_trial_runs_for_the_days_given_from_now() -> None:
    account = make_business().account
    assert account is not None
    with acting_as_admin():
        made = subscribe(account=account, plan="professional", by=None, now=NOW, trial_days=30)
    assert made.current_period_start == NOW
    assert made.trial_end == made.current_period_end == dt.datetime(2026, 4, 1, 12, tzinfo=dt.UTC)


def test_a_second_subscription_is_refused_and_the_first_stands() -> None:
    account = make_business().account
    assert account is not None
    with acting_as_admin():
        subscribe(account=account, plan="starter", by=None, now=NOW)
        with pytest.raises(BillingError, match="has a subscription already"):
            subscribe(account=account, plan="enterprise", by=None, now=NOW)
        assert UserSubscription.objects.get(account=account).plan.code == "starter"


def test_a_plan_that_is_no_longer_on_offer_is_refused() -> None:
    account = make_business().account
    assert account is not None
    with acting_as_admin():
        SubscriptionPlan.objects.filter(code="starter").update(is_active=False)
        with pytest.raises(BillingError, match=r"no plan 'starter' on offer.*professional"):
            subscribe(account=account, plan="starter", by=None, now=NOW)
        assert not UserSubscription.objects.filter(account=account).exists()


@pytest.mark.parametrize("days", [0, -1])
def test_a_trial_of_no_days_is_refused(days: int) -> None:
    account = make_business().account
    assert account is not None
    with acting_as_admin(), pytest.raises(BillingError, match="is none"):
        subscribe(account=account, plan="starter", by=None, now=NOW, trial_days=days)


def test_a_member_may_not_subscribe_their_own_account() -> None:
    owner = make_business()
    assert owner.account is not None
    with acting_as(owner), pytest.raises(ProgrammingError, match="permission denied"):
        subscribe(account=owner.account, plan="enterprise", by=owner, now=NOW)
