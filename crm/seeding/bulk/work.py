"""Sites, quotes and jobs of one account, told in the order of days."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from crm.models import JobPriority, JobStatus, QuoteStatus
from crm.seeding.bulk.context import PAST_DAYS, Context
from crm.seeding.bulk.documents import draft, moment
from crm.seeding.trades import Work

_FUTURE_DAYS = 21
_VALID = datetime.timedelta(days=30)
_DECIDED = (QuoteStatus.ACCEPTED, QuoteStatus.CONVERTED, QuoteStatus.DECLINED)
_OLD_QUOTES = (*_DECIDED, QuoteStatus.ACCEPTED, QuoteStatus.CHANGES_REQUESTED, QuoteStatus.SENT)
_NEW_QUOTES = (QuoteStatus.DRAFT, QuoteStatus.SENT)
_PAST_JOBS = (*[JobStatus.CLOSED] * 12, *[JobStatus.COMPLETED] * 6, JobStatus.CANCELLED)
_REASONS = {
    JobStatus.CANCELLED: "The customer called it off.",
    JobStatus.ON_HOLD: "Waiting for parts.",
}


@dataclass(frozen=True)
class DoneJob:
    """A job that can be billed."""

    id: int
    customer: int
    work: Work
    day: datetime.date


def add_sites(context: Context, many: int) -> None:
    """Places of work."""
    country, rng = context.account.country, context.rng
    at = moment(context.today, 0)
    for number in range(1, many + 1):
        street = f"{rng.randint(1, 999)} {rng.choice(country.streets)}"
        context.rows.add(
            "service_sites", context.new_id("service_sites"), context.account.id, at, at,
            context.customer(), f"Site {number}", street, *rng.choice(country.towns), country.name,
        )  # fmt: skip


def add_quotes(context: Context, many: int) -> None:
    """Quotes in every state: the newest are open, the older mostly decided."""
    rng, fresh = context.rng, context.today - datetime.timedelta(days=14)
    for day in context.days(many, -PAST_DAYS, 0):
        status = rng.choice(_NEW_QUOTES if day > fresh else _OLD_QUOTES)
        work = rng.choice(context.account.trade.work)
        sent = status != QuoteStatus.DRAFT
        context.add_document(
            "quotes",
            draft(work, context.account),
            day + _VALID if sent else None,
            moment(day, 9) if sent else None,
            moment(day + datetime.timedelta(days=3), 15) if status in _DECIDED else None,
            "Found somebody else." if status == QuoteStatus.DECLINED else "",
            id=context.new_id("quotes"),
            day=day,
            number=context.number("quote") if sent else None,
            customer=context.customer(),
            title=work.title,
            status=status,
        )


def add_jobs(context: Context, many: int) -> Iterator[DoneJob]:
    """Jobs of the past year and the next weeks; yields those that are done, oldest first."""
    account, rng, today = context.account, context.rng, context.today
    for day in context.days(many, -PAST_DAYS, _FUTURE_DAYS):
        work, hour = rng.choice(account.trade.work), rng.randint(9, 14)
        if day < today:
            status = rng.choice(_PAST_JOBS)
        elif day == today:
            status = rng.choice((JobStatus.SCHEDULED, JobStatus.IN_PROGRESS))
        else:
            status = rng.choice((*[JobStatus.SCHEDULED] * 9, JobStatus.ON_HOLD))
        done = status in (JobStatus.COMPLETED, JobStatus.CLOSED)
        begun = done or status == JobStatus.IN_PROGRESS
        start, end = moment(day, hour), moment(day, hour, work.minutes)
        job, customer = context.new_id("jobs"), context.customer()
        at = moment(min(day - datetime.timedelta(days=5), today), 9)
        context.rows.add(
            "jobs", job, account.id, at, at, context.number("job"), customer, None, None,
            account.technician, work.title, status, _REASONS.get(status, ""),
            rng.choice(tuple(JobPriority)), start, end, start if begun else None,
            end if done else None,
        )  # fmt: skip
        if done:
            yield DoneJob(job, customer, work, day)
