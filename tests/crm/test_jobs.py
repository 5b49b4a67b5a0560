"""A job's way from draft to closed, kept by the database."""

import datetime as dt

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from crm.models import Job, JobStatus, User
from crm.models.jobs import JOB_TRANSITIONS
from crm.services.documents import issue_invoice
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer, make_invoice

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@pytest.fixture
def owner() -> User:
    return make_business()


def a_job(status: str, **fields: object) -> Job:
    return Job.objects.create(
        customer=make_customer(),
        title="Fix the boiler",
        status=status,
        status_reason="because",
        scheduled_start=NOON,
        **fields,
    )


@pytest.mark.parametrize("old", JobStatus.values)
def test_only_the_listed_steps_are_taken(owner: User, old: str) -> None:
    with acting_as(owner):
        for new in set(JobStatus.values) - {old}:
            job = a_job(old)
            if (old, new) in JOB_TRANSITIONS:
                Job.objects.filter(pk=job.pk).update(status=new)
            else:
                with pytest.raises(IntegrityError, match="can't become"), transaction.atomic():
                    Job.objects.filter(pk=job.pk).update(status=new)


def test_beginning_and_end_are_stamped_by_the_database(owner: User) -> None:
    with acting_as(owner):
        job = a_job("scheduled")
        for status in ("in_progress", "completed"):
            Job.objects.filter(pk=job.pk).update(status=status)
        job.refresh_from_db()
        assert job.started_at is not None
        assert job.completed_at is not None
        Job.objects.filter(pk=job.pk).update(status="in_progress")
        job.refresh_from_db()
        assert job.completed_at is None


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"status": "on_hold"}, "job_status_reason"),
        ({"status": "scheduled"}, "job_scheduled_start"),
        ({"status": "nonsense"}, "job_status"),
        ({"title": ""}, "job_title"),
        (
            {"scheduled_start": NOON, "scheduled_end": NOON - dt.timedelta(hours=1)},
            "job_scheduled_end",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    owner: User, fields: dict[str, object], constraint: str
) -> None:
    with acting_as(owner), pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Job.objects.create(**{"customer": make_customer(), "title": "Fix", **fields})


def test_late_today_unscheduled_and_to_be_invoiced_are_derived(owner: User) -> None:
    with acting_as(owner):
        late = a_job("scheduled")
        unscheduled = Job.objects.create(customer=make_customer(), title="Some day")
        done, billed = a_job("completed"), a_job("completed")
        invoice = make_invoice(billed.customer, "10", job=billed)
        issue_invoice(invoice=invoice, by=owner)
        assert list(Job.objects.late(timezone.now())) == [late]
        assert list(Job.objects.late(NOON)) == []
        assert list(Job.objects.unscheduled()) == [unscheduled]
        assert list(Job.objects.to_be_invoiced()) == [done]
        day = dt.timedelta(days=1)
        assert Job.objects.scheduled_between(NOON, NOON + day).count() == 3
        assert Job.objects.scheduled_between(NOON - day, NOON).count() == 0


def test_a_technician_of_another_business_is_refused(owner: User) -> None:
    stranger = make_business()
    with (
        acting_as(owner),
        pytest.raises(IntegrityError, match="jobs_assigned_to_same_account"),
        transaction.atomic(),
    ):
        a_job("scheduled", assigned_to_id=stranger.pk)
