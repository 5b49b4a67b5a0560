"""The admin's first page: what today asks for, and how the business stands."""

from __future__ import annotations

import calendar
import datetime as dt
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from django.core.cache import cache
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from crm.admin.cells import JOB_COLOURS, change_url, list_url
from crm.models import Account, Customer, Invoice, Job, Quote, User
from crm.models.currencies import format_money
from ops.admin.approvals import number_awaiting
from ops.admin.health_standing import health_standing
from ops.admin.overview import overview
from ops.admin.standing import DANGER, Standing
from ops.admin.words import ago, length
from ops.models import Backup, Drill, Finding, Run, RunStatus
from ops.readiness.sentences import sentence
from ops.readiness.value import Level, Readiness

TODAY_SHOWN = 12
_COUNTED_TO = 1000
_CACHE_SECONDS = 300
_CACHE_KEY = "srvc.dashboard.everywhere"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the first page shows to whoever asks; Unfold's DASHBOARD_CALLBACK."""
    user: Any = request.user
    context |= {"title": "Dashboard", "cards": [], "today": None, "charts": []}
    now = timezone.now()
    if user.is_platform_administrator:
        context |= _everywhere(now)
    if user.is_platform_administrator or user.is_auditor:
        # Never from the cache: whoever just mended it wants to see that.
        context["cards"] = [*_operations(user, now), *context["cards"]]
        return context
    if user.has_perm("crm.view_job"):
        # Who plans no work has own work to do: a technician sees their own jobs only.
        own = None if user.has_perm("crm.add_job") else user
        context |= _work(own, now)
    if user.has_perm("crm.view_invoice"):
        context["cards"] = [*_money(now, user), *context["cards"]]
        context["charts"] = _revenue_charts(Invoice.objects.all(), timezone.localdate(now))
    return context


def _card(
    title: str, values: list[str], link: str = "", note: str = "", *, alarm: bool = False
) -> dict[str, Any]:
    return {"title": title, "values": values, "link": link, "note": note, "alarm": alarm}


def _amounts(totals: list[tuple[str, int, Decimal]]) -> list[str]:
    """One amount per currency, never added up over currencies."""
    return [format_money(amount, currency) for currency, _, amount in totals] or ["None"]


def _number(rows: int, noun: str) -> str:
    return f"{rows:,} {noun}{'' if rows == 1 else 's'}"


def _up_to(rows: models.QuerySet[Any]) -> tuple[int, str]:
    """How many rows, counted no further than anybody would look."""
    found = rows.order_by()[: _COUNTED_TO + 1].count()
    return found, f"{_COUNTED_TO:,}+" if found > _COUNTED_TO else f"{found:,}"


def _work(own: User | None, now: dt.datetime) -> dict[str, Any]:
    jobs = Job.objects.all() if own is None else Job.objects.filter(assigned_to=own)
    mine = {} if own is None else {"assigned_to__id__exact": own.pk}
    start = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    # Tomorrow's midnight by the calendar: days of 23 and 25 hours exist.
    end = timezone.make_aware(dt.datetime.combine(start.date() + dt.timedelta(days=1), dt.time.min))
    planned = jobs.scheduled_between(start, end)
    rows = list(
        planned.order_by("scheduled_start", "id")
        .select_related("customer", "site")
        .prefetch_related("assigned_to")[: TODAY_SHOWN + 1]
    )
    late, late_text = _up_to(jobs.late(now))
    cards = [_card("Late jobs", [late_text], list_url(Job, work="late", **mine), alarm=late > 0)]
    if own is None:
        _, text = _up_to(jobs.to_be_invoiced())
        cards.append(_card("Jobs to be invoiced", [text], list_url(Job, work="to_be_invoiced")))
    else:
        _, text = _up_to(jobs.open())
        cards.append(_card("My open jobs", [text], list_url(Job, work="open", **mine)))
    return {
        "cards": cards,
        "today": [_today_row(job) for job in rows[:TODAY_SHOWN]],
        "today_more": len(rows) > TODAY_SHOWN,
        "today_title": f"{'Jobs' if own is None else 'My jobs'} today",
        "today_link": list_url(Job, work="today", **mine),
    }


def _today_row(job: Job) -> dict[str, Any]:
    return {
        "link": change_url(job),
        "starts": job.scheduled_start,
        "title": job.title,
        "customer": str(job.customer),
        "place": job.site.address if job.site else job.customer.address,
        "who": str(job.assigned_to) if job.assigned_to else "Nobody yet",
        "status": job.get_status_display(),
        "colour": JOB_COLOURS.get(job.status, ""),
    }


def _money(now: dt.datetime, user: Any) -> list[dict[str, Any]]:
    overdue = Invoice.objects.overdue(timezone.localdate(now)).balances_by_currency()
    unpaid = Invoice.objects.unpaid().balances_by_currency()
    cards = [
        _card(
            "Unpaid",
            _amounts(unpaid),
            list_url(Invoice, payment="unpaid"),
            _number(sum(count for _, count, _ in unpaid), "invoice"),
        ),
        _card(
            "Overdue",
            _amounts(overdue),
            list_url(Invoice, payment="overdue"),
            _number(sum(count for _, count, _ in overdue), "invoice"),
            alarm=bool(overdue),
        ),
    ]
    if user.has_perm("crm.view_quote"):
        open_quotes = Quote.objects.open().totals_by_currency()
        cards.insert(
            0,
            _card(
                "Open quotes",
                _amounts(open_quotes),
                list_url(Quote, answer="open"),
                _number(sum(count for _, count, _ in open_quotes), "quote"),
            ),
        )
    return cards


def last_twelve_months(today: dt.date) -> list[dt.date]:
    """The first days of the twelve months that end with today's."""
    number = today.year * 12 + today.month - 1
    return [dt.date(n // 12, n % 12 + 1, 1) for n in range(number - 11, number + 1)]


def _revenue_charts(invoices: Any, today: dt.date) -> list[dict[str, Any]]:
    months = last_twelve_months(today)
    # To the end of this month: an invoice may be dated ahead.
    end = months[-1] + dt.timedelta(days=calendar.monthrange(months[-1].year, months[-1].month)[1])
    by_currency: dict[str, dict[dt.date, Decimal]] = defaultdict(dict)
    for currency, month, amount in invoices.revenue_by_month(months[0], end):
        by_currency[currency][month] = amount
    return [_chart(currency, months, amounts) for currency, amounts in by_currency.items()]


def _chart(currency: str, months: list[dt.date], amounts: dict[dt.date, Decimal]) -> dict[str, Any]:
    values = [amounts.get(month, Decimal(0)) for month in months]
    data = {
        "labels": [f"{month:%b %Y}" for month in months],
        "datasets": [
            {
                "label": f"Revenue, {currency}",
                # The chart draws numbers; people read amounts in the table below it.
                "data": [str(value) for value in values],
                "backgroundColor": "var(--color-primary-600)",
                "borderRadius": 4,
                "barThickness": 20,
                "maxBarThickness": 20,
                "displayYAxis": True,
            }
        ],
    }
    total = format_money(sum(values, Decimal(0)), currency)
    return {
        "title": f"Revenue by month, {currency}",
        "summary": f"{total} in twelve months",
        "data": json.dumps(data),
        "rows": [
            (f"{month:%B %Y}", format_money(value, currency))
            for month, value in zip(months, values, strict=True)
        ],
    }


def _operations(user: User, now: dt.datetime) -> list[dict[str, Any]]:
    cards = [_health(now)] if user.has_perm("ops.view_finding") else []
    if user.has_perm("ops.view_backup"):
        seen = overview(now, pictures=False)
        cards += [_backups(seen.standing), _proofs(seen.readiness), *_approvals()]
    return cards


def _health(now: dt.datetime) -> dict[str, Any]:
    told = health_standing(now)
    worst = next((area.worst for area in told.areas if area.level == told.level), None)
    named = worst is not None and worst.title != told.sentence
    note = worst.title if named and worst is not None else told.details[0]
    return _card("Health", [told.sentence], list_url(Finding), note, alarm=told.level == DANGER)


def _backups(told: Standing) -> dict[str, Any]:
    note = told.missing[0].text if told.missing else told.details
    return _card("Backups", [told.sentence], list_url(Backup), note, alarm=told.level == DANGER)


def _proofs(ready: Readiness) -> dict[str, Any]:
    proven = "Never proven"
    if ready.proven_at is not None:
        took = "" if ready.seconds is None else f", in {length(ready.seconds)}"
        proven = f"Proven {ago(ready.proven_at, ready.at)}{took}"
    alarm = ready.level == Level.BAD
    return _card("Restores", [proven], list_url(Drill), sentence(ready), alarm=alarm)


def _approvals() -> list[dict[str, Any]]:
    """Restores and recoveries that wait for a second administrator; nothing when none does."""
    number = number_awaiting()
    if not number:
        return []
    verb = "awaits" if number == 1 else "await"
    link = list_url(Run, status=RunStatus.AWAITING)
    return [_card("Approvals", [f"{_number(number, 'run')} {verb} approval"], link, alarm=True)]


def _everywhere(now: dt.datetime) -> dict[str, Any]:
    """Totals over all accounts, per currency. They read whole tables, so they are kept a while.

    Only platform administrators see them, and what they see is the same for each.
    """
    shown: dict[str, Any] | None = cache.get(_CACHE_KEY)
    if shown is None:
        overdue = Invoice.objects.overdue_everywhere(now).balances_by_currency()
        unpaid = Invoice.objects.unpaid().balances_by_currency()
        quotes = Quote.objects.open().totals_by_currency()
        shown = {
            "cards": [
                _card("Businesses", [f"{Account.objects.count():,}"], list_url(Account)),
                _card(
                    "Customers",
                    [f"{Customer.objects.count():,}"],
                    list_url(Customer),
                ),
                _card("Open quotes", _amounts(quotes), list_url(Quote, answer="open")),
                _card("Unpaid", _amounts(unpaid), list_url(Invoice, payment="unpaid")),
                _card(
                    "Overdue",
                    _amounts(overdue),
                    list_url(Invoice, payment="overdue"),
                    alarm=bool(overdue),
                ),
                _card("Late jobs", [_up_to(Job.objects.late(now))[1]], list_url(Job, work="late")),
            ],
            "charts": _revenue_charts(Invoice.objects.all(), timezone.localdate(now)),
            "as_of": now,
        }
        cache.set(_CACHE_KEY, shown, _CACHE_SECONDS)
    return shown
