"""User subscriptions: which plan a business has, and until when."""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models import F, Q

from billing.models.plans import SubscriptionPlan
from crm.models.base import TimestampedModel, text_field
from crm.models.history import track_history
from crm.models.users import Account
from ops.rls.policies import ADMIN, CURRENT_ACCOUNT, MEMBER, RowPolicy


class SubscriptionStatus(models.TextChoices):
    INCOMPLETE = "incomplete", "Incomplete"
    TRIALING = "trialing", "Trialing"
    ACTIVE = "active", "Active"
    PAST_DUE = "past_due", "Past due"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"
    UNPAID = "unpaid", "Unpaid"


@track_history()
class UserSubscription(TimestampedModel):
    """An account's subscription, one per account. Members read it; the platform writes it."""

    account = models.OneToOneField(
        Account,
        on_delete=models.PROTECT,
        db_column="user_id",
        related_name="subscription",
        db_comment="The account that subscribes: the user id of its owner.",
    )
    plan = models.ForeignKey(
        SubscriptionPlan,
        on_delete=models.PROTECT,
        related_name="subscriptions",
        db_index=False,
        db_comment="The plan.",
    )
    status = models.CharField(
        max_length=10,
        choices=SubscriptionStatus,
        default=SubscriptionStatus.TRIALING,
        db_default=SubscriptionStatus.TRIALING,
        db_comment="incomplete, trialing, active, past_due, paused, canceled or unpaid.",
    )
    current_period_start = models.DateTimeField(db_comment="When the paid period began.")
    current_period_end = models.DateTimeField(db_comment="When the paid period ends.")
    trial_end = models.DateTimeField(null=True, blank=True, db_comment="When the trial ends.")
    cancel_at_period_end = models.BooleanField(
        default=False, db_default=False, db_comment="Whether it ends with the paid period."
    )
    canceled_at = models.DateTimeField(null=True, blank=True, db_comment="When it was canceled.")
    stripe_customer_id = text_field("The business in Stripe.", max_length=100)
    stripe_subscription_id = text_field("The subscription in Stripe.", max_length=100)

    class Meta(TimestampedModel.Meta):
        db_table = "user_subscriptions"
        db_table_comment = "Which plan each account has, and until when."
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "plan"], name="subscriptions_account_plan"),
            models.Index(fields=["plan"], name="subscriptions_plan"),
            models.Index(fields=["status", "current_period_end"], name="subscriptions_status"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(status__in=SubscriptionStatus.values), name="subscription_status"
            ),
            models.CheckConstraint(
                condition=Q(current_period_end__gt=F("current_period_start")),
                name="subscription_period",
                violation_error_message="A period ends after it starts.",
            ),
            models.CheckConstraint(
                condition=~Q(status="trialing") | Q(trial_end__isnull=False),
                name="subscription_trial_end",
                violation_error_message="A trial needs an end.",
            ),
            models.CheckConstraint(
                condition=~Q(status="canceled") | Q(canceled_at__isnull=False),
                name="subscription_canceled_at",
                violation_error_message="A canceled subscription needs the time of cancellation.",
            ),
            RowPolicy(
                name="subscription_member",
                role=MEMBER,
                using=f"user_id = {CURRENT_ACCOUNT}",
                commands=("SELECT",),
            ),
            RowPolicy(name="subscription_admin", role=ADMIN),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [*TimestampedModel.Meta.triggers]

    def __str__(self) -> str:
        return f"{self.account} on {self.plan}"
