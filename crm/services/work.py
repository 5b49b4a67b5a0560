"""Writes on jobs: planning, starting, holding, completing, cancelling."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from crm.models import Job, JobStatus, User
from crm.services.refusals import told_by_the_database

_WITH_REASON = (JobStatus.ON_HOLD, JobStatus.CANCELLED)


@told_by_the_database
@transaction.atomic
def schedule_job(
    *, job: Job, start: dt.datetime, end: dt.datetime | None = None, by: User | None
) -> Job:
    """Plan a job's work, or plan it anew. Raises CrmError when it is past planning."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    job.status, job.status_reason = JobStatus.SCHEDULED, ""
    job.scheduled_start, job.scheduled_end = start, end
    job.save(update_fields=["status", "status_reason", "scheduled_start", "scheduled_end"])
    job.refresh_from_db()
    return job


@told_by_the_database
@transaction.atomic
def move_job(*, job: Job, status: JobStatus, by: User | None, reason: str = "") -> Job:
    """Put a job into another status; a reason goes with on hold and cancelled.

    The times of start and completion are stamped by the database. Raises CrmError for a step that
    is not allowed from where the job is, and for a missing reason.
    """
    job = Job.objects.select_for_update().get(pk=job.pk)
    job.status = status
    job.status_reason = reason if status in _WITH_REASON else ""
    job.save(update_fields=["status", "status_reason"])
    job.refresh_from_db()
    return job
