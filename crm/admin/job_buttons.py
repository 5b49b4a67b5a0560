"""The buttons of a job's page: every step a job can take from where it is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseRedirect
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from crm.admin.asker import asker
from crm.admin.buttons import ButtonsMixin, ConfirmForm, ReasonForm, button
from crm.admin.cells import change_url
from crm.models import Job, JobStatus
from crm.models.jobs import JOB_TRANSITIONS
from crm.services.conversion import invoice_from_job
from crm.services.work import move_job, schedule_job

_NEXT: dict[str, set[str]] = {}
for _old, _new in JOB_TRANSITIONS:
    _NEXT.setdefault(_old, set()).add(_new)


def _may_become(status: JobStatus) -> Any:
    return lambda job: status in _NEXT.get(job.status, ())


class ScheduleForm(ConfirmForm):
    """Asks when the work is planned."""

    start = forms.SplitDateTimeField(widget=UnfoldAdminSplitDateTimeWidget())
    end = forms.SplitDateTimeField(required=False, widget=UnfoldAdminSplitDateTimeWidget())


class JobButtons(ButtonsMixin):
    """Planning, doing and ending a job."""

    actions_detail = (
        "schedule",
        "start",
        "complete_one",
        "new_invoice",
        "hold",
        "resume",
        "reopen",
        "close_one",
        "cancel",
    )

    def _move(self, request: HttpRequest, job: Job, status: JobStatus, reason: str = "") -> str:
        moved = move_job(job=job, status=status, reason=reason, by=asker(request))
        return f"{moved.label} is {moved.get_status_display().lower()}."

    @button(
        title="Schedule",
        icon="event",
        question="When is the work of {row} planned?",
        form=ScheduleForm,
        initial=lambda job: {"start": job.scheduled_start, "end": job.scheduled_end},
        shown=_may_become(JobStatus.SCHEDULED),
        permission="crm.add_job",
        variant=ActionVariant.PRIMARY,
    )
    def schedule(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Plan the work."""
        job = schedule_job(job=row, start=data["start"], end=data["end"], by=asker(request))
        return f"{job.label} is scheduled."

    @button(
        title="Start",
        icon="play_arrow",
        question="Start the work of {row} now?",
        shown=lambda job: job.status == JobStatus.SCHEDULED,
        variant=ActionVariant.PRIMARY,
    )
    def start(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Begin the work."""
        return self._move(request, row, JobStatus.IN_PROGRESS)

    @button(
        title="Resume",
        icon="play_arrow",
        question="Go on with the work of {row}?",
        shown=lambda job: job.status == JobStatus.ON_HOLD,
    )
    def resume(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Go on after a hold."""
        return self._move(request, row, JobStatus.IN_PROGRESS)

    @button(
        title="Reopen",
        icon="undo",
        question="Reopen {row}? It counts as under way again.",
        shown=lambda job: job.status == JobStatus.COMPLETED,
    )
    def reopen(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Say that the work is not done after all."""
        return self._move(request, row, JobStatus.IN_PROGRESS)

    @button(
        title="Complete",
        icon="check",
        question="Is all work of {row} done?",
        shown=_may_become(JobStatus.COMPLETED),
        variant=ActionVariant.SUCCESS,
    )
    def complete_one(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Say that the work is done."""
        return self._move(request, row, JobStatus.COMPLETED)

    @button(
        title="Hold",
        icon="pause",
        question="Why is {row} on hold?",
        form=ReasonForm,
        shown=_may_become(JobStatus.ON_HOLD),
    )
    def hold(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Stop for a reason."""
        return self._move(request, row, JobStatus.ON_HOLD, data["reason"])

    @button(
        title="Close",
        icon="inventory_2",
        question="Close {row}? Nothing more is to be done or billed.",
        shown=_may_become(JobStatus.CLOSED),
        permission="crm.add_job",
    )
    def close_one(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Put the job away."""
        return self._move(request, row, JobStatus.CLOSED)

    @button(
        title="Cancel",
        icon="cancel",
        question="Why is {row} cancelled?",
        submit="Cancel the job",
        form=ReasonForm,
        shown=_may_become(JobStatus.CANCELLED),
        permission="crm.add_job",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, row: Job, data: Any) -> str:
        """Call the job off."""
        return self._move(request, row, JobStatus.CANCELLED, data["reason"])

    @button(
        title="New invoice",
        icon="receipt_long",
        question="Draft an invoice for {row}, with the lines of its quote if it has one?",
        submit="Draft invoice",
        shown=lambda job: job.status != JobStatus.CANCELLED,
        permission="crm.add_invoice",
    )
    def new_invoice(self, request: HttpRequest, row: Job, data: Any) -> HttpResponseRedirect:
        """Bill the job."""
        invoice = invoice_from_job(job=row, by=asker(request))
        return HttpResponseRedirect(change_url(invoice))
