"""Filters of the lists of work and money."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.db import models
from django.http import HttpRequest
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as DropdownFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter

from crm.models import Invoice, Job, Quote
from ops.admin.filters import DayRangeFilter, midnight


class WorkFilter(DropdownFilter):
    """The questions a dispatcher asks of the list of jobs."""

    title = "work"
    parameter_name = "work"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("today", "Today"),
            ("late", "Late"),
            ("unscheduled", "Unscheduled"),
            ("open", "Open"),
            ("to_be_invoiced", "To be invoiced"),
            ("mine", "Mine"),
        ]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Job]) -> Any:
        jobs: Any = queryset
        today = timezone.localdate()
        match self.value():
            case "today":
                return jobs.scheduled_between(
                    midnight(today), midnight(today + dt.timedelta(days=1))
                )
            case "late":
                return jobs.late(timezone.now())
            case "unscheduled":
                return jobs.unscheduled()
            case "open":
                return jobs.open()
            case "to_be_invoiced":
                return jobs.to_be_invoiced()
            case "mine":
                return jobs.filter(assigned_to_id=request.user.pk)
        return jobs


class OfferFilter(DropdownFilter):
    """Which quotes wait, and which have waited too long."""

    title = "answer"
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("expired", "Expired")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Quote]) -> Any:
        quotes: Any = queryset
        match self.value():
            case "open":
                return quotes.open()
            case "expired":
                return quotes.expired(timezone.localdate())
        return quotes


class DueFilter(DropdownFilter):
    """How far invoices are paid: derived from dates and payments, never stored."""

    title = "payment"
    parameter_name = "payment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unpaid", "Unpaid"), ("overdue", "Overdue"), ("paid", "Paid")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Invoice]) -> Any:
        invoices: Any = queryset
        match self.value():
            case "unpaid":
                return invoices.unpaid()
            case "overdue" if getattr(request.user, "account_id", None) is None:
                return invoices.overdue_everywhere(timezone.now())
            case "overdue":
                return invoices.overdue(timezone.localdate())
            case "paid":
                return invoices.filter(status="issued", balance=0)
        return invoices


__all__ = ["DayRangeFilter", "DueFilter", "OfferFilter", "WorkFilter"]
