"""Quotes: what work would cost."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import ClassVar, Self

import pgtrigger
from django.db import models
from django.db.models import Count, Q, Sum

from crm.models.base import AccountModel, same_account_unique_external_id, text_field
from crm.models.documents import Document, DocumentLine
from crm.models.history import track_history
from crm.models.rules import (
    allowed_transitions,
    begins_as_draft,
    frozen,
    frozen_with_parent,
    takes_number,
)
from crm.models.search import number_in, of_customer, of_customer_or
from ops.rls.policies import SameAccountKey


class QuoteStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    SENT = "sent", "Sent"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    CHANGES_REQUESTED = "changes_requested", "Changes requested"
    CONVERTED = "converted", "Converted"


QUOTE_TRANSITIONS = [
    (QuoteStatus.DRAFT, QuoteStatus.SENT),
    (QuoteStatus.SENT, QuoteStatus.ACCEPTED),
    (QuoteStatus.SENT, QuoteStatus.DECLINED),
    (QuoteStatus.SENT, QuoteStatus.CHANGES_REQUESTED),
    (QuoteStatus.CHANGES_REQUESTED, QuoteStatus.SENT),
    (QuoteStatus.CHANGES_REQUESTED, QuoteStatus.DECLINED),
    (QuoteStatus.ACCEPTED, QuoteStatus.CONVERTED),
]
EDITABLE = (QuoteStatus.DRAFT, QuoteStatus.CHANGES_REQUESTED)
_EDITABLE_SQL = ", ".join(f"'{status}'" for status in EDITABLE)


class QuoteQuerySet(models.QuerySet["Quote"]):
    def matching(self, text: str) -> Self:
        """Quotes with that number, or with every word in the title or the customer."""
        number = number_in(text)
        if number is not None:
            return self.filter(number=number)
        return self.filter(of_customer_or(text, "title"))

    def matching_everywhere(self, text: str) -> Self:
        """Like `matching` without titles: the search over all accounts that indexes serve."""
        number = number_in(text)
        return self.filter(of_customer(text) if number is None else Q(number=number))

    def open(self) -> Self:
        """Quotes that wait for somebody: the office or the customer."""
        return self.filter(status__in=("draft", "sent", "changes_requested"))

    def expired(self, today: dt.date) -> Self:
        """Sent quotes whose validity has ended."""
        return self.filter(status=QuoteStatus.SENT, valid_until__lt=today)

    def totals_by_currency(self) -> list[tuple[str, int, Decimal]]:
        """How many quotes and what they come to: (currency, count, total), by currency."""
        return list(
            self.order_by("currency")
            .values_list("currency")
            .annotate(quotes=Count("id"), amount=Sum("total"))
        )


@track_history()
class Quote(Document):
    """An offer to a customer."""

    status = models.CharField(
        max_length=20,
        choices=QuoteStatus,
        default=QuoteStatus.DRAFT,
        db_default=QuoteStatus.DRAFT,
        db_comment="draft, sent, accepted, declined, changes_requested or converted.",
    )
    revision = models.PositiveSmallIntegerField(
        default=1, db_default=1, editable=False, db_comment="How often it went out changed, plus 1."
    )
    issue_date = models.DateField(
        null=True, blank=True, db_comment="Date on the quote; the day it is sent if left empty."
    )
    valid_until = models.DateField(
        null=True, blank=True, db_comment="Last day on which the customer can accept."
    )
    sent_at = models.DateTimeField(null=True, editable=False, db_comment="When it went out last.")
    decided_at = models.DateTimeField(
        null=True, editable=False, db_comment="When the customer accepted or declined."
    )
    decline_reason = text_field("Why the customer declined.", max_length=300)

    objects = QuoteQuerySet.as_manager()

    class Meta(Document.Meta):
        db_table = "quotes"
        db_table_comment = "Quotes and what became of them."
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "customer", "-id"], name="quotes_customer"),
            models.Index(fields=["account", "site"], name="quotes_site"),
            models.Index(fields=["account", "status", "-id"], name="quotes_status"),
            models.Index(fields=["account", "created_at"], name="quotes_created"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *Document.Meta.constraints,
            models.CheckConstraint(condition=Q(status__in=QuoteStatus.values), name="quote_status"),
            models.CheckConstraint(
                condition=Q(status="draft") | Q(number__isnull=False, issue_date__isnull=False),
                name="quote_number_when_sent",
            ),
            models.CheckConstraint(
                condition=Q(valid_until=None)
                | Q(issue_date=None)
                | Q(valid_until__gte=models.F("issue_date")),
                name="quote_valid_until",
                violation_error_message="A quote can't end before its date.",
            ),
            same_account_unique_external_id("quote"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            allowed_transitions("quote", QUOTE_TRANSITIONS),
            takes_number("quote"),
            begins_as_draft("quote"),
            frozen(
                "quote",
                unless=f"OLD.status IN ({_EDITABLE_SQL})",
                still_open=("status", "updated_at", "decided_at", "decline_reason"),
            ),
            pgtrigger.Trigger(
                name="a_stamp_times",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func="""
                IF NEW.status <> 'draft' AND NEW.issue_date IS NULL THEN
                    NEW.issue_date = (now() AT TIME ZONE (
                        SELECT time_zone FROM accounts WHERE user_id = NEW.user_id))::date;
                END IF;
                IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status THEN
                    IF NEW.status = 'sent' THEN
                        NEW.sent_at = now();
                        IF OLD.status = 'changes_requested' THEN
                            NEW.revision = OLD.revision + 1;
                        END IF;
                    ELSIF NEW.status IN ('accepted', 'declined') THEN
                        NEW.decided_at = now();
                    END IF;
                END IF;
                RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.title}".strip()

    @property
    def label(self) -> str:
        """The quote's number as people say it."""
        return f"Q-{self.number:05d}" if self.number else "Draft quote"

    @property
    def is_editable(self) -> bool:
        """Whether the database would still take changes of it."""
        return self.status in EDITABLE


@track_history()
class QuoteLine(DocumentLine):
    """A line of a quote."""

    account_parents = ("quote",)

    quote = models.ForeignKey(
        Quote,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="lines",
        db_comment="The quote it belongs to.",
    )

    class Meta(DocumentLine.Meta):
        db_table = "quote_lines"
        db_table_comment = "Lines of quotes."
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "quote", "position"], name="quote_lines_quote"),
            models.Index(fields=["account", "product"], name="quote_lines_product"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *DocumentLine.Meta.constraints,
            SameAccountKey(name="quote_lines_quote_same_account", field="quote"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            frozen_with_parent("quote", "quotes", "quote_id", unless=_EDITABLE_SQL),
        ]
