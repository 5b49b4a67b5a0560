"""Jobs."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from crm.admin.asker import asker
from crm.admin.base import AccountModelAdmin
from crm.admin.bulk import bulk_action
from crm.admin.cells import (
    EMPTY,
    JOB_COLOURS,
    PRIORITY_COLOURS,
    label,
    link,
    links,
)
from crm.admin.filters import DayRangeFilter, WorkFilter
from crm.admin.forms import CustomersWorkForm
from crm.admin.job_buttons import JobButtons
from crm.models import Job, JobStatus
from crm.services.work import move_job
from ops.admin.looks import display


class JobForm(CustomersWorkForm):
    """A job's page; its status moves by buttons."""

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        # The customer and the site of a quote go with it, when left empty.
        quote = data.get("quote")
        if quote is not None and "site" in data and data.get("site") is None:
            data["site"] = quote.site
        if self.instance.status == JobStatus.DRAFT and data.get("scheduled_start"):
            # A job with a time is planned; nobody should have to say so twice.
            self.instance.status = JobStatus.SCHEDULED
        return data


@admin.register(Job)
class JobAdmin(JobButtons, AccountModelAdmin):
    """Work planned, under way and done."""

    form = JobForm
    list_display: Any = (
        "label_cell",
        "title",
        "customer_link",
        "starts",
        "technician",
        "priority_label",
        "status_label",
    )
    list_display_links = ("label_cell", "title")
    sortable = ("label_cell", "starts")
    list_filter = (
        WorkFilter,
        ("status", ChoicesDropdownFilter),
        ("priority", ChoicesDropdownFilter),
        ("scheduled_start", DayRangeFilter),
        ("customer", AutocompleteSelectFilter),
        ("assigned_to", AutocompleteSelectFilter),
    )
    date_hierarchy = "scheduled_start"
    list_related = ("customer", "assigned_to")
    search_fields = ("title",)
    search_help_text = "Number, title, customer"
    autocomplete_fields = ("customer", "site", "quote", "assigned_to")
    readonly_fields = ("state", "times", "bills")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "title",
                    ("customer", "site"),
                    ("state", "priority"),
                    "description",
                )
            },
        ),
        (
            "Plan",
            {"fields": ("assigned_to", "scheduled_start", "scheduled_end", "times")},
        ),
        ("Paperwork", {"fields": ("quote", "bills", "external_id")}),
    )
    actions: Any = ("complete", "close", "export_csv")
    csv_columns = (
        "number",
        "title",
        "customer.name",
        "site.name",
        "assigned_to.email",
        "status",
        "status_reason",
        "priority",
        "scheduled_start",
        "scheduled_end",
        "started_at",
        "completed_at",
        "description",
        "external_id",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        # Who sees no quotes and invoices sees no paperwork.
        if request.user.has_perm("crm.view_quote"):
            return fieldsets
        return [(name, options) for name, options in fieldsets if name != "Paperwork"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if not request.user.has_perm("crm.add_job"):
            # A technician writes about the work; whose it is and who does it, the office says.
            fields = (*fields, "customer", "site", "assigned_to", "title", "priority")
        return fields

    def get_list_filter(self, request: HttpRequest) -> Any:
        filters = super().get_list_filter(request)
        if request.user.has_perm("crm.view_user"):
            return filters
        return tuple(
            spec for spec in filters if not (isinstance(spec, tuple) and spec[0] == "assigned_to")
        )

    @display(description="Number", ordering="id")
    def label_cell(self, job: Job) -> str:
        """The number as people say it."""
        return job.label

    @display(description="Customer")
    def customer_link(self, job: Job) -> SafeString | str:
        """The customer, linked."""
        return link(job.customer)

    @display(description="Starts", ordering="scheduled_start")
    def starts(self, job: Job) -> dt.datetime | None:
        """When the work is planned to begin."""
        return job.scheduled_start

    @display(description="Technician")
    def technician(self, job: Job) -> str:
        """Who does it."""
        return str(job.assigned_to) if job.assigned_to else EMPTY

    @display(description="Priority", label=PRIORITY_COLOURS)
    def priority_label(self, job: Job) -> tuple[str, str] | str:
        """The priority, coloured when it is high."""
        return label(job.priority, job.get_priority_display(), PRIORITY_COLOURS)

    @display(description="Status", label=JOB_COLOURS)
    def status_label(self, job: Job) -> tuple[str, str] | str:
        """The status, coloured; scheduled work that should have begun is late."""
        return label(job.status, job.get_status_display(), JOB_COLOURS)

    @display(description="Status")
    def state(self, job: Job) -> str:
        """The status and its reason; buttons change it."""
        if job._state.adding:
            return "Draft"
        reason = f": {job.status_reason}" if job.status_reason else ""
        late = job.status == JobStatus.SCHEDULED and (
            job.scheduled_start is not None and job.scheduled_start < timezone.now()
        )
        return f"{job.get_status_display()}{' (late)' if late else ''}{reason}"

    @display(description="Done")
    def times(self, job: Job) -> str:
        """When work began and ended."""
        parts = []
        for name, moment in (("Started", job.started_at), ("completed", job.completed_at)):
            if moment is not None:
                parts.append(f"{name} {formats.localize(timezone.localtime(moment))}")
        return ", ".join(parts) or EMPTY

    @display(description="Invoices")
    def bills(self, job: Job) -> SafeString | str:
        """The invoices that bill the job, linked."""
        return (
            links(job.invoices.order_by("id"), attribute="label")
            if not job._state.adding
            else EMPTY
        )

    @bulk_action(description="Mark as completed", done="completed")
    def complete(self, request: HttpRequest, row: Job) -> None:
        """Say that the work of jobs is done."""
        move_job(job=row, status=JobStatus.COMPLETED, by=asker(request))

    @bulk_action(description="Close", done="closed")
    def close(self, request: HttpRequest, row: Job) -> None:
        """Put completed jobs away."""
        move_job(job=row, status=JobStatus.CLOSED, by=asker(request))
