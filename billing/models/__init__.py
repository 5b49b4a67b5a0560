"""The tables of billing."""

from billing.models.plans import PlanInterval, SubscriptionPlan
from billing.models.subscriptions import SubscriptionStatus, UserSubscription

__all__ = ["PlanInterval", "SubscriptionPlan", "SubscriptionStatus", "UserSubscription"]
