"""Filters of lists: by day, by how a run stands."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date

from ops.liveness import dead, living
from ops.models import RunStatus

if TYPE_CHECKING:
    from django.contrib.admin import FieldListFilter as RangeDateFilter
    from django.contrib.admin import SimpleListFilter as DropdownFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter


class DayRangeFilter(RangeDateFilter):
    """From a day to a day, both included, in the account's time zone; also for moments.

    A text that is no date filters nothing.
    """

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        start = _day(self.used_parameters.get(f"{self.field_path}_from"))
        end = _day(self.used_parameters.get(f"{self.field_path}_to"))
        moments = isinstance(self.field, models.DateTimeField)
        if start is not None:
            first: dt.date = midnight(start) if moments else start
            queryset = queryset.filter(**{f"{self.field_path}__gte": first})
        if end is not None and end < dt.date.max:
            after = end + dt.timedelta(days=1)
            limit: dt.date = midnight(after) if moments else after
            queryset = queryset.filter(**{f"{self.field_path}__lt": limit})
        return queryset


class ChoiceFilter(DropdownFilter):
    """A filter whose choices are its own."""

    # What stands for no choice: its value and its words.
    all_option: ClassVar[tuple[str, Any]]


class StatusFilter(DropdownFilter):
    """How a run stands, as its page says it: a row may say running long after its process died."""

    title = "status"
    parameter_name = "status"
    DIED = "died"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every status, and death."""
        return [*((str(status), str(status.label)) for status in RunStatus), (self.DIED, "Died")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Tell the living from the dead, whatever their rows say."""
        status = self.value()
        if not status:
            return queryset
        if status == RunStatus.RUNNING:
            return living(queryset.running())
        if status == self.DIED:
            return queryset.filter(pk__in=dead(queryset))
        return queryset.filter(status=status)


def _day(text: Any) -> dt.date | None:
    try:
        return parse_date(str(text or ""))
    except ValueError:  # 30 February
        return None


def midnight(day: dt.date) -> dt.datetime:
    """The day's first moment, in the time zone of whoever asks."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time.min))
