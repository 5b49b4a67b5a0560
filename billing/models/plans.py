"""Subscription plans: what SRVC costs a business and how much it may hold."""

from __future__ import annotations

from typing import ClassVar, Self

import pgtrigger
from django.db import models
from django.db.models import Q

from crm.models.base import TimestampedModel, notes_field, text_field
from crm.models.currencies import CURRENCIES
from ops.postgres.roles import PUBLIC
from ops.rls.policies import ADMIN, MEMBER, RowPolicy


class PlanInterval(models.TextChoices):
    MONTH = "month", "Month"
    YEAR = "year", "Year"


class PlanQuerySet(models.QuerySet["SubscriptionPlan"]):
    def on_offer(self) -> Self:
        """Plans that anybody can choose."""
        return self.filter(is_active=True)


class SubscriptionPlan(TimestampedModel):
    """A plan that businesses subscribe to. Active ones are readable by anyone."""

    code = models.SlugField(max_length=40, unique=True, db_comment="Short name for commands.")
    name = models.CharField(max_length=100, db_comment="What the price list calls it.")
    description = notes_field("What the price list says about it.")
    price = models.DecimalField(max_digits=10, decimal_places=2, db_comment="Price per interval.")
    currency = models.CharField(
        max_length=3,
        choices=CURRENCIES,
        default="USD",
        db_default="USD",
        db_comment="ISO 4217 code of the price.",
    )
    interval = models.CharField(
        max_length=5,
        choices=PlanInterval,
        default=PlanInterval.MONTH,
        db_default=PlanInterval.MONTH,
        db_comment="month or year.",
    )
    features = models.JSONField(default=list, db_comment="What it contains, a line each.")
    max_customers = models.PositiveIntegerField(
        null=True, blank=True, db_comment="How many customers it holds; null for no limit."
    )
    max_invoices = models.PositiveIntegerField(
        null=True, blank=True, db_comment="How many invoices a month; null for no limit."
    )
    max_storage_gb = models.PositiveIntegerField(
        null=True, blank=True, db_comment="How many GB of files it holds; null for no limit."
    )
    stripe_price_id = text_field("The plan's price in Stripe.", max_length=100)
    is_active = models.BooleanField(
        default=True, db_default=True, db_comment="Whether anybody can choose it."
    )

    objects = PlanQuerySet.as_manager()

    class Meta(TimestampedModel.Meta):
        db_table = "subscription_plans"
        db_table_comment = "Plans that businesses subscribe to."
        ordering = ("price", "id")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(price__gte=0), name="plan_price"),
            models.CheckConstraint(
                condition=Q(interval__in=PlanInterval.values), name="plan_interval"
            ),
            RowPolicy(name="plan_public", role=PUBLIC, using="is_active", commands=("SELECT",)),
            # A member also reads the plan they have when it is no longer on offer.
            RowPolicy(name="plan_member", role=MEMBER, commands=("SELECT",)),
            RowPolicy(name="plan_admin", role=ADMIN),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [*TimestampedModel.Meta.triggers]

    def __str__(self) -> str:
        return self.name
