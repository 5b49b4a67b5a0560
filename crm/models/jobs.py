"""Jobs: work planned, under way and done."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar, Self

import pgtrigger
from django.db import models
from django.db.models import F, Q

from crm.models.base import (
    AccountModel,
    notes_field,
    same_account_unique_external_id,
    text_field,
)
from crm.models.customers import Customer, ServiceSite
from crm.models.history import track_history
from crm.models.rules import allowed_transitions, takes_number
from crm.models.search import number_in, of_customer, of_customer_or
from crm.models.users import User
from ops.rls.policies import SameAccountKey


class JobStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    SCHEDULED = "scheduled", "Scheduled"
    IN_PROGRESS = "in_progress", "In progress"
    ON_HOLD = "on_hold", "On hold"
    COMPLETED = "completed", "Completed"
    CLOSED = "closed", "Closed"
    CANCELLED = "cancelled", "Cancelled"


class JobPriority(models.TextChoices):
    LOW = "low", "Low"
    NORMAL = "normal", "Normal"
    HIGH = "high", "High"
    EMERGENCY = "emergency", "Emergency"


JOB_TRANSITIONS = [
    (JobStatus.DRAFT, JobStatus.SCHEDULED),
    (JobStatus.DRAFT, JobStatus.CANCELLED),
    (JobStatus.SCHEDULED, JobStatus.IN_PROGRESS),
    (JobStatus.SCHEDULED, JobStatus.ON_HOLD),
    (JobStatus.SCHEDULED, JobStatus.COMPLETED),
    (JobStatus.SCHEDULED, JobStatus.CANCELLED),
    (JobStatus.IN_PROGRESS, JobStatus.ON_HOLD),
    (JobStatus.IN_PROGRESS, JobStatus.COMPLETED),
    (JobStatus.IN_PROGRESS, JobStatus.CANCELLED),
    (JobStatus.ON_HOLD, JobStatus.SCHEDULED),
    (JobStatus.ON_HOLD, JobStatus.IN_PROGRESS),
    (JobStatus.ON_HOLD, JobStatus.CANCELLED),
    (JobStatus.COMPLETED, JobStatus.IN_PROGRESS),
    (JobStatus.COMPLETED, JobStatus.CLOSED),
]
_OPEN = (JobStatus.DRAFT, JobStatus.SCHEDULED, JobStatus.IN_PROGRESS, JobStatus.ON_HOLD)


class JobQuerySet(models.QuerySet["Job"]):
    def matching(self, text: str) -> Self:
        """Jobs with that number, or with every word in the title or the customer."""
        number = number_in(text)
        if number is not None:
            return self.filter(number=number)
        return self.filter(of_customer_or(text, "title"))

    def matching_everywhere(self, text: str) -> Self:
        """Like `matching` without titles: the search over all accounts that indexes serve."""
        number = number_in(text)
        return self.filter(of_customer(text) if number is None else Q(number=number))

    def open(self) -> Self:
        """Jobs with work still to do."""
        return self.filter(status__in=_OPEN)

    def scheduled_between(self, start: dt.datetime, end: dt.datetime) -> Self:
        """Jobs that begin in [start, end), cancelled ones left out."""
        return self.filter(scheduled_start__gte=start, scheduled_start__lt=end).exclude(
            status=JobStatus.CANCELLED
        )

    def late(self, now: dt.datetime) -> Self:
        """Scheduled jobs whose start has passed without anybody starting."""
        return self.filter(status=JobStatus.SCHEDULED, scheduled_start__lt=now)

    def unscheduled(self) -> Self:
        """Open jobs without a time."""
        return self.open().filter(scheduled_start=None)

    def to_be_invoiced(self) -> Self:
        """Completed jobs without an invoice that counts."""
        return self.filter(status=JobStatus.COMPLETED).exclude(
            invoices__status__in=("draft", "issued", "written_off")
        )


@track_history()
class Job(AccountModel):
    """A piece of work for a customer."""

    account_parents = ("customer", "quote")

    number = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        db_comment="Number in the account's series of jobs; null while a draft.",
    )
    customer = models.ForeignKey(
        Customer,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="jobs",
        db_comment="Whom the work is for.",
    )
    site = models.ForeignKey(
        ServiceSite,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="jobs",
        db_comment="Where the work is done; null for the customer's own address.",
    )
    quote = models.ForeignKey(
        "crm.Quote",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="jobs",
        db_comment="The quote the work was agreed in.",
    )
    assigned_to = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="jobs",
        db_comment="The technician who does it.",
    )
    title = models.CharField(max_length=200, db_comment="What is to be done, in a line.")
    description = notes_field("What is to be done, in full.")
    status = models.CharField(
        max_length=12,
        choices=JobStatus,
        default=JobStatus.DRAFT,
        db_default=JobStatus.DRAFT,
        db_comment="draft, scheduled, in_progress, on_hold, completed, closed or cancelled.",
    )
    status_reason = text_field("Why the job is on hold or cancelled.", max_length=300)
    priority = models.CharField(
        max_length=10,
        choices=JobPriority,
        default=JobPriority.NORMAL,
        db_default=JobPriority.NORMAL,
        db_comment="low, normal, high or emergency.",
    )
    scheduled_start = models.DateTimeField(
        null=True, blank=True, db_comment="When the work is planned to begin."
    )
    scheduled_end = models.DateTimeField(
        null=True, blank=True, db_comment="When the work is planned to end."
    )
    started_at = models.DateTimeField(null=True, blank=True, db_comment="When the work began.")
    completed_at = models.DateTimeField(null=True, blank=True, db_comment="When the work was done.")
    external_id = text_field("The job's id in the system the row came from.", max_length=100)

    objects = JobQuerySet.as_manager()

    class Meta(AccountModel.Meta):
        db_table = "jobs"
        db_table_comment = "Service jobs and their tracking."
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "customer", "-id"], name="jobs_customer"),
            models.Index(fields=["account", "site"], name="jobs_site"),
            models.Index(fields=["account", "quote"], name="jobs_quote"),
            models.Index(
                fields=["account", "assigned_to", "scheduled_start"], name="jobs_assigned"
            ),
            models.Index(fields=["account", "status", "-id"], name="jobs_status"),
            models.Index(fields=["account", "scheduled_start"], name="jobs_scheduled"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            SameAccountKey(name="jobs_customer_same_account", field="customer"),
            SameAccountKey(name="jobs_site_same_account", field="site"),
            SameAccountKey(name="jobs_quote_same_account", field="quote"),
            SameAccountKey(name="jobs_assigned_to_same_account", field="assigned_to"),
            models.UniqueConstraint(fields=["account", "number"], name="job_number"),
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status"),
            models.CheckConstraint(
                condition=Q(priority__in=JobPriority.values), name="job_priority"
            ),
            models.CheckConstraint(condition=~Q(title=""), name="job_title"),
            models.CheckConstraint(
                condition=~Q(status__in=["on_hold", "cancelled"]) | ~Q(status_reason=""),
                name="job_status_reason",
                violation_error_message="Say why the job is on hold or cancelled.",
            ),
            models.CheckConstraint(
                condition=~Q(status="scheduled") | Q(scheduled_start__isnull=False),
                name="job_scheduled_start",
                violation_error_message="A scheduled job needs a start.",
            ),
            models.CheckConstraint(
                condition=Q(scheduled_end=None) | Q(scheduled_end__gte=F("scheduled_start")),
                name="job_scheduled_end",
                violation_error_message="A job can't end before it starts.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["completed", "closed"]) | Q(completed_at__isnull=False),
                name="job_completed_at",
                violation_error_message="A completed job needs the time of completion.",
            ),
            same_account_unique_external_id("job"),
        ]
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            *AccountModel.Meta.triggers,
            allowed_transitions("job", JOB_TRANSITIONS),
            takes_number("job"),
            pgtrigger.Trigger(
                name="a_stamp_times",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func="""
                IF NEW.status = 'in_progress' AND NEW.started_at IS NULL THEN
                    NEW.started_at = now();
                END IF;
                IF NEW.status IN ('completed', 'closed') AND NEW.completed_at IS NULL THEN
                    NEW.completed_at = now();
                ELSIF NEW.status NOT IN ('completed', 'closed') THEN
                    NEW.completed_at = NULL;
                END IF;
                RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.title}"

    @property
    def label(self) -> str:
        """The job's number as people say it."""
        return f"J-{self.number:05d}" if self.number else "Draft job"
