"""Lists that stay fast at a million rows: bounded counts, date steps without a scan."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db import connections, models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from ops.admin.looks import ChangeList as UnfoldChangeList

# Counting this many index entries takes a millisecond or two; nobody pages further than that.
COUNT_LIMIT = 10_000


class ShownCount(int):
    """A number of rows that pages are made from, and what people read instead of it."""

    text: str

    def __new__(cls, value: int, text: str) -> ShownCount:
        count = super().__new__(cls, value)
        count.text = text
        return count

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        # Templates would format the integer itself otherwise.
        return self.text


class BoundedPaginator(Paginator[Any]):
    """Counts up to COUNT_LIMIT rows; above it says "10,000+", or PostgreSQL's estimate.

    The estimate serves an unfiltered list over all accounts: a member's filter is invisible here,
    so a member is never shown the size of everybody's table.
    """

    estimate = False

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, models.QuerySet)
        limited = rows.order_by()[: COUNT_LIMIT + 1]
        found = limited.count()
        if found <= COUNT_LIMIT:
            return found
        estimated = self._estimate(rows) if self.estimate else 0
        if estimated > COUNT_LIMIT:
            return ShownCount(COUNT_LIMIT, f"about {estimated:,}")
        return ShownCount(COUNT_LIMIT, f"{COUNT_LIMIT:,}+")

    @staticmethod
    def _estimate(rows: models.QuerySet[Any]) -> int:
        if rows.query.where:
            return 0
        with connections[rows.db].cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
                [f'"{rows.model._meta.db_table}"'],
            )
            return int(cursor.fetchone()[0])


class EstimatingPaginator(BoundedPaginator):
    """For platform administrators."""

    estimate = True


@dataclass(frozen=True)
class Step:
    """One link of the date hierarchy."""

    title: str
    link: str
    current: bool = False


class ChangeList(UnfoldChangeList):
    """A list whose date hierarchy costs two index look-ups, whatever the number of rows."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self._everywhere = bool(getattr(request.user, "is_platform_administrator", False))
        super().__init__(request, *args, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        admin: Any = self.model_admin
        if isinstance(self.result_list, models.QuerySet):
            self.result_list = self.result_list.prefetch_related(*admin.get_list_related(request))
        if not self.query and not self.has_active_filters:
            # Nothing is left out, so the page offers no "show all".
            self.full_result_count = self.result_count

    @cached_property
    def date_steps(self) -> list[Step]:
        """Years that hold rows, then the year's months, then the month's days.

        Empty for platform administrators: every index begins with the account, so the first and
        the last date over all accounts would take a scan. They have the date filters.
        """
        field = self.date_hierarchy
        if not field or self._everywhere:
            return []
        year, month, day = (self._chosen(field, unit) for unit in ("year", "month", "day"))
        if year is None:
            return self._years(field)
        steps = [Step("All dates", self._link(field))]
        if month is None:
            steps.append(Step(str(year), "", current=True))
            return steps + [
                Step(calendar.month_abbr[number], self._link(field, year, number))
                for number in range(1, 13)
            ]
        steps.append(Step(str(year), self._link(field, year)))
        steps.append(
            Step(calendar.month_name[month], self._link(field, year, month), current=day is None)
        )
        days = calendar.monthrange(year, month)[1]
        return steps + [
            Step(str(number), self._link(field, year, month, number), current=number == day)
            for number in range(1, days + 1)
        ]

    def _chosen(self, field: str, unit: str) -> int | None:
        value = self.params.get(f"{field}__{unit}", "")
        limits = {"year": (1, 9998), "month": (1, 12), "day": (1, 31)}[unit]
        text = value if isinstance(value, str) else ""
        return int(text) if text.isdecimal() and limits[0] <= int(text) <= limits[1] else None

    def _years(self, field: str) -> list[Step]:
        dates = self.model._default_manager.exclude(**{field: None}).values_list(field, flat=True)
        first = dates.order_by(field).first()
        last = dates.order_by(f"-{field}").first()
        if first is None or last is None:
            return []
        return [
            Step(str(year), self._link(field, year))
            for year in range(_year(last), _year(first) - 1, -1)
        ][:25]

    def _link(self, field: str, *chosen: int) -> str:
        names = [f"{field}__{unit}" for unit in ("year", "month", "day")]
        values = dict(zip(names, map(str, chosen), strict=False))
        return self.get_query_string(values, [name for name in names if name not in values])


def _year(moment: dt.date | dt.datetime) -> int:
    if isinstance(moment, dt.datetime):
        moment = timezone.localtime(moment)
    return moment.year
