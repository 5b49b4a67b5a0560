"""Invoices: what a customer owes. Immutable once issued."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import ClassVar, Self

import pgtrigger
from django.db import models
from django.db.models import Count, F, Func, Q, Sum, Value
from django.db.models.functions import Cast, TruncMonth

from crm.models.base import (
    AccountModel,
    money_field,
    same_account_unique_external_id,
    text_field,
)
from crm.models.documents import Document, DocumentLine
from crm.models.history import track_history
from crm.models.jobs import Job
from crm.models.quotes import Quote
from crm.models.rules import (
    allocated_as_recorded,
    allowed_transitions,
    begins_as_draft,
    frozen,
    frozen_with_parent,
    refuse,
    takes_number,
)
from crm.models.search import number_in, of_customer, of_customer_or
from ops.rls.policies import SameAccountKey


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    ISSUED = "issued", "Issued"
    VOID = "void", "Void"
    WRITTEN_OFF = "written_off", "Written off"


INVOICE_TRANSITIONS = [
    (InvoiceStatus.DRAFT, InvoiceStatus.ISSUED),
    (InvoiceStatus.ISSUED, InvoiceStatus.VOID),
    (InvoiceStatus.ISSUED, InvoiceStatus.WRITTEN_OFF),
    (InvoiceStatus.WRITTEN_OFF, InvoiceStatus.ISSUED),
]


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    def matching(self, text: str) -> Self:
        """Invoices with that number, or with every word in the title or the customer."""
        number = number_in(text)
        if number is not None:
            return self.filter(number=number)
        return self.filter(of_customer_or(text, "title"))

    def matching_everywhere(self, text: str) -> Self:
        """Like `matching` without titles: the search over all accounts that indexes serve."""
        number = number_in(text)
        return self.filter(of_customer(text) if number is None else Q(number=number))

    def unpaid(self) -> Self:
        """Issued invoices with something left to pay."""
        return self.filter(status=InvoiceStatus.ISSUED, balance__gt=0)

    def overdue(self, today: dt.date) -> Self:
        """Unpaid invoices past their due date; `today` is the account's own day."""
        return self.unpaid().filter(due_date__lt=today)

    def overdue_everywhere(self, now: dt.datetime) -> Self:
        """Unpaid invoices past their due date on the day it is in each one's own account."""
        day = Cast(
            Func(
                F("account__time_zone"),
                Value(now, output_field=models.DateTimeField()),
                function="timezone",
                output_field=models.DateTimeField(),
            ),
            models.DateField(),
        )
        return self.unpaid().filter(due_date__lt=day)

    def balances_by_currency(self) -> list[tuple[str, int, Decimal]]:
        """How many invoices and what is left to pay: (currency, count, balance), by currency."""
        return list(
            self.order_by("currency")
            .values_list("currency")
            .annotate(invoices=Count("id"), amount=Sum("balance"))
        )

    def revenue_by_month(self, start: dt.date, end: dt.date) -> list[tuple[str, dt.date, Decimal]]:
        """Counted invoices dated in [start, end): (currency, first of the month, total)."""
        return list(
            self.counted()
            .filter(issue_date__gte=start, issue_date__lt=end)
            .annotate(month=TruncMonth("issue_date"))
            .order_by("currency", "month")
            .values_list("currency", "month")
            .annotate(amount=Sum("total"))
        )

    def counted(self) -> Self:
        """Invoices that are revenue: issued or written off, not drafts, not void."""
        return self.filter(status__in=(InvoiceStatus.ISSUED, InvoiceStatus.WRITTEN_OFF))


_UNEQUAL = refuse(
    "The invoice's lines add up to %, its subtotal is %.", "lines_total", "NEW.subtotal"
)


@track_history(exclude=("balance",))
class Invoice(Document):
    """A bill. Its number is taken, and its content frozen, when it is issued."""

    account_parents = ("customer", "job", "quote")

    job = models.ForeignKey(
        Job,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="invoices",
        db_comment="The job it bills.",
    )
    quote = models.ForeignKey(
        Quote,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="invoices",
        db_comment="The quote it follows.",
    )
    status = models.CharField(
        max_length=12,
        choices=InvoiceStatus,
        default=InvoiceStatus.DRAFT,
        db_default=InvoiceStatus.DRAFT,
        db_comment="draft, issued, void or written_off; paid and overdue are derived.",
    )
    status_reason = text_field("Why it is void or written off.", max_length=300)
    issue_date = models.DateField(
        null=True, blank=True, db_comment="Date on the invoice; the day of issue if left empty."
    )
    due_date = models.DateField(
        null=True, blank=True, db_comment="Last day to pay; from the account's terms if left empty."
    )
    issued_at = models.DateTimeField(
        null=True, editable=False, db_comment="When it was issued in SRVC."
    )
    allocated_total = money_field(
        "What payments cover of it; kept by the trigger of payment_allocations.", editable=False
    )
    balance = models.GeneratedField(
        expression=F("total") - F("allocated_total"),
        output_field=models.DecimalField(max_digits=14, decimal_places=2),
        db_persist=True,
        db_comment="What is left to pay.",
    )

    objects = InvoiceQuerySet.as_manager()

    class Meta(Document.Meta):
        db_table = "invoices"
        db_table_comment = "Invoices and how far they are paid."
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "customer", "-id"], name="invoices_customer"),
            models.Index(fields=["account", "site"], name="invoices_site"),
            models.Index(fields=["account", "job"], name="invoices_job"),
            models.Index(fields=["account", "quote"], name="invoices_quote"),
            models.Index(fields=["account", "status", "-id"], name="invoices_status"),
            models.Index(fields=["account", "issue_date"], name="invoices_issue_date"),
            models.Index(
                fields=["account", "due_date"],
                include=["balance"],
                condition=Q(status="issued", balance__gt=0),
                name="invoices_unpaid",
            ),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *Document.Meta.constraints,
            SameAccountKey(name="invoices_job_same_account", field="job"),
            SameAccountKey(name="invoices_quote_same_account", field="quote"),
            models.CheckConstraint(
                condition=Q(status__in=InvoiceStatus.values), name="invoice_status"
            ),
            models.CheckConstraint(
                condition=Q(status="draft")
                | Q(number__isnull=False, issue_date__isnull=False, due_date__isnull=False),
                name="invoice_number_when_issued",
            ),
            models.CheckConstraint(
                condition=Q(due_date=None) | Q(issue_date=None) | Q(due_date__gte=F("issue_date")),
                name="invoice_due_date",
                violation_error_message="An invoice can't be due before its date.",
            ),
            models.CheckConstraint(
                condition=Q(allocated_total__gte=0, allocated_total__lte=F("total")),
                name="invoice_allocated",
                violation_error_message="More is allocated to the invoice than it asks for.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["draft", "void"]) | Q(allocated_total=0),
                name="invoice_allocated_status",
                violation_error_message="A draft or void invoice takes no payment.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["void", "written_off"]) | ~Q(status_reason=""),
                name="invoice_status_reason",
                violation_error_message="Say why the invoice is void or written off.",
            ),
            same_account_unique_external_id("invoice"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            allowed_transitions("invoice", INVOICE_TRANSITIONS),
            takes_number("invoice"),
            begins_as_draft("invoice"),
            frozen(
                "invoice",
                unless="OLD.status = 'draft'",
                still_open=(
                    "status",
                    "status_reason",
                    "updated_at",
                    "allocated_total",
                    "balance",
                ),
            ),
            pgtrigger.Trigger(
                name="a_stamp_times",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func="""
                IF NEW.status <> 'draft' THEN
                    NEW.issued_at = coalesce(NEW.issued_at, now());
                    NEW.issue_date = coalesce(NEW.issue_date, (now() AT TIME ZONE (
                        SELECT time_zone FROM accounts WHERE user_id = NEW.user_id))::date);
                    NEW.due_date = coalesce(NEW.due_date, NEW.issue_date + (
                        SELECT payment_days FROM accounts WHERE user_id = NEW.user_id));
                END IF;
                RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="c_issue_whole",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.status = 'draft' AND NEW.status = 'issued'"),
                declare=[("lines_total", "numeric"), ("line_count", "bigint")],
                func=f"""
                SELECT coalesce(sum(net), 0), count(*) INTO lines_total, line_count
                FROM invoice_lines WHERE user_id = NEW.user_id AND invoice_id = NEW.id;
                IF line_count = 0 THEN
                    {refuse("An invoice without lines can't be issued.")}
                END IF;
                IF lines_total <> NEW.subtotal
                    + (CASE WHEN NEW.prices_include_tax THEN NEW.tax_total ELSE 0 END) THEN
                    {_UNEQUAL}
                END IF;
                RETURN NEW;
                """,
            ),
            allocated_as_recorded(
                "What is paid of an invoice follows from payment allocations.", "invoice_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.title}".strip()

    @property
    def label(self) -> str:
        """The invoice's number as people say it."""
        return f"INV-{self.number:05d}" if self.number else "Draft invoice"

    @property
    def is_editable(self) -> bool:
        """Whether the database would still take changes of it."""
        return self.status == InvoiceStatus.DRAFT

    def payment_state(self, today: dt.date) -> str:
        """The invoice's state as people see it: draft, unpaid, partial, paid, overdue, …"""
        if self.status != InvoiceStatus.ISSUED:
            return self.status
        balance = self.total - self.allocated_total
        if balance <= Decimal(0):
            return "paid"
        if self.due_date is not None and self.due_date < today:
            return "overdue"
        return "partial" if self.allocated_total else "unpaid"


@track_history()
class InvoiceLine(DocumentLine):
    """A line of an invoice."""

    account_parents = ("invoice",)

    invoice = models.ForeignKey(
        Invoice,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="lines",
        db_comment="The invoice it belongs to.",
    )

    class Meta(DocumentLine.Meta):
        db_table = "invoice_lines"
        db_table_comment = "Lines of invoices."
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "invoice", "position"], name="invoice_lines_invoice"),
            models.Index(fields=["account", "product"], name="invoice_lines_product"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *DocumentLine.Meta.constraints,
            SameAccountKey(name="invoice_lines_invoice_same_account", field="invoice"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            frozen_with_parent("invoice", "invoices", "invoice_id", unless="'draft'"),
        ]
