"""Payments and what they pay. Append-only: a payment is corrected by a reversing one."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar, Self

import pgtrigger
from django.db import models
from django.db.models import F, Q

from crm.models.base import (
    AccountModel,
    money_field,
    notes_field,
    same_account_unique_external_id,
    text_field,
)
from crm.models.currencies import CURRENCIES
from crm.models.customers import Customer
from crm.models.history import track_history
from crm.models.invoices import Invoice
from crm.models.rules import allocated_as_recorded, allowed_transitions, frozen, refuse
from crm.models.search import of_customer, of_customer_or
from ops.rls.policies import SameAccountKey


class PaymentMethod(models.TextChoices):
    CASH = "cash", "Cash"
    CHECK = "check", "Check"
    CREDIT_CARD = "credit_card", "Credit card"
    BANK_TRANSFER = "bank_transfer", "Bank transfer"
    STRIPE = "stripe", "Stripe"
    OTHER = "other", "Other"


class PaymentStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    REFUNDED = "refunded", "Refunded"


PAYMENT_TRANSITIONS = [
    (PaymentStatus.PENDING, PaymentStatus.COMPLETED),
    (PaymentStatus.PENDING, PaymentStatus.FAILED),
    (PaymentStatus.COMPLETED, PaymentStatus.REFUNDED),
    (PaymentStatus.COMPLETED, PaymentStatus.FAILED),
]


class PaymentQuerySet(models.QuerySet["Payment"]):
    def matching(self, text: str) -> Self:
        """Payments with every word in the reference or the customer."""
        return self.filter(of_customer_or(text, "reference"))

    def matching_everywhere(self, text: str) -> Self:
        """Payments of matching customers: the search over all accounts that indexes serve."""
        return self.filter(of_customer(text))

    def completed(self) -> Self:
        """Payments whose money has arrived, reversals included."""
        return self.filter(status__in=(PaymentStatus.COMPLETED, PaymentStatus.REFUNDED))

    def unallocated(self) -> Self:
        """Completed payments with money left that pays nothing yet: deposits."""
        return self.filter(status=PaymentStatus.COMPLETED, amount__gt=F("allocated_total"))

    def received_between(self, start: dt.date, end: dt.date) -> Self:
        """Payments received on a day in [start, end)."""
        return self.filter(received_on__gte=start, received_on__lt=end)


@track_history(exclude=("unallocated",))
class Payment(AccountModel):
    """Money from a customer; a negative amount reverses an earlier payment."""

    account_parents = ("customer", "reverses")

    customer = models.ForeignKey(
        Customer,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="payments",
        db_comment="Who paid.",
    )
    reverses = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        db_constraint=False,
        db_index=False,
        related_name="reversals",
        db_comment="The payment that a negative amount takes back.",
    )
    amount = models.DecimalField(
        max_digits=14, decimal_places=2, db_comment="Amount received; negative for a reversal."
    )
    currency = models.CharField(
        max_length=3,
        choices=CURRENCIES,
        editable=False,
        db_comment="ISO 4217 code, copied from the account.",
    )
    method = models.CharField(
        max_length=15,
        choices=PaymentMethod,
        default=PaymentMethod.BANK_TRANSFER,
        db_default=PaymentMethod.BANK_TRANSFER,
        db_comment="cash, check, credit_card, bank_transfer, stripe or other.",
    )
    status = models.CharField(
        max_length=10,
        choices=PaymentStatus,
        default=PaymentStatus.COMPLETED,
        db_default=PaymentStatus.COMPLETED,
        db_comment="pending, completed, failed or refunded.",
    )
    received_on = models.DateField(db_comment="The day the money arrived.")
    reference = text_field("Check number, transaction id, text of the transfer.")
    notes = notes_field("Internal notes about the payment.")
    external_id = text_field("The payment's id in the system it came from.", max_length=100)
    allocated_total = money_field(
        "How much of it pays invoices; kept by the trigger of payment_allocations.", editable=False
    )
    unallocated = models.GeneratedField(
        expression=F("amount") - F("allocated_total"),
        output_field=models.DecimalField(max_digits=14, decimal_places=2),
        db_persist=True,
        db_comment="What of it pays nothing yet: a deposit.",
    )

    objects = PaymentQuerySet.as_manager()

    class Meta(AccountModel.Meta):
        db_table = "payments"
        db_table_comment = "Money received, append-only; reversals are negative."
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "customer", "-id"], name="payments_customer"),
            models.Index(fields=["account", "received_on"], name="payments_received"),
            models.Index(fields=["account", "status", "-id"], name="payments_status"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            SameAccountKey(name="payments_customer_same_account", field="customer"),
            SameAccountKey(name="payments_reverses_same_account", field="reverses"),
            models.UniqueConstraint(
                fields=["account", "reverses"],
                name="payment_reversed_once",
                violation_error_message="The payment has been reversed already.",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0, reverses=None) | Q(amount__lt=0, reverses__isnull=False),
                name="payment_amount",
                violation_error_message="A payment is more than zero.",
            ),
            models.CheckConstraint(
                condition=Q(method__in=PaymentMethod.values), name="payment_method"
            ),
            models.CheckConstraint(
                condition=Q(status__in=PaymentStatus.values), name="payment_status"
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=0, allocated_total__gte=0, allocated_total__lte=F("amount"))
                | Q(amount__lt=0, allocated_total__lte=0, allocated_total__gte=F("amount")),
                name="payment_allocated",
                violation_error_message="More is allocated than was paid.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["pending", "failed"]) | Q(allocated_total=0),
                name="payment_allocated_status",
                violation_error_message="Only a completed payment pays invoices.",
            ),
            same_account_unique_external_id("payment"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            allowed_transitions("payment", PAYMENT_TRANSITIONS),
            frozen(
                "payment",
                unless="OLD.status = 'pending'",
                still_open=("status", "updated_at", "allocated_total", "unallocated", "notes"),
            ),
            pgtrigger.Trigger(
                name="b_reverses_whole",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.reverses_id IS NOT NULL"),
                func=f"""
                IF NOT EXISTS (
                    SELECT FROM payments WHERE user_id = NEW.user_id AND id = NEW.reverses_id
                      AND customer_id = NEW.customer_id AND currency = NEW.currency
                      AND amount = -NEW.amount) THEN
                    {refuse("A reversal takes a payment back whole, from the same customer.")}
                END IF;
                RETURN NEW;
                """,
            ),
            allocated_as_recorded(
                "What a payment pays follows from payment allocations.", "payment_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.received_on} {self.amount} {self.currency}"


@track_history()
class PaymentAllocation(AccountModel):
    """How much of a payment pays which invoice; negative on a reversal."""

    account_parents = ("payment", "invoice")

    payment = models.ForeignKey(
        Payment,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="allocations",
        db_comment="The payment.",
    )
    invoice = models.ForeignKey(
        Invoice,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="allocations",
        db_comment="The invoice it pays.",
    )
    amount = models.DecimalField(
        max_digits=14, decimal_places=2, db_comment="How much of the payment pays the invoice."
    )

    class Meta(AccountModel.Meta):
        db_table = "payment_allocations"
        db_table_comment = "Which payment pays how much of which invoice; append-only."
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "payment"], name="allocations_payment"),
            models.Index(fields=["account", "invoice"], name="allocations_invoice"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            SameAccountKey(name="allocations_payment_same_account", field="payment"),
            SameAccountKey(name="allocations_invoice_same_account", field="invoice"),
            models.CheckConstraint(condition=~Q(amount=0), name="payment_allocation_amount"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            pgtrigger.Trigger(
                name="b_append_only",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                func=refuse("An allocation is never changed; reverse the payment instead."),
            ),
            pgtrigger.Trigger(
                name="carry_to_totals",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                declare=[("paid_by", "bigint"), ("billed_to", "bigint")],
                func=f"""
                -- Both updates lock their row, and the checks on it (never more than paid, never
                -- more than the invoice asks for) then hold for any number of writers.
                UPDATE payments SET allocated_total = allocated_total + NEW.amount
                WHERE user_id = NEW.user_id AND id = NEW.payment_id
                  AND sign(amount) = sign(NEW.amount)
                RETURNING customer_id INTO paid_by;
                IF NOT FOUND THEN
                    {refuse("An allocation has the sign of its payment.")}
                END IF;
                UPDATE invoices SET allocated_total = allocated_total + NEW.amount
                WHERE user_id = NEW.user_id AND id = NEW.invoice_id
                RETURNING customer_id INTO billed_to;
                IF billed_to IS DISTINCT FROM paid_by THEN
                    {refuse("A payment pays invoices of its own customer only.")}
                END IF;
                RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.payment} for {self.invoice.label}"
