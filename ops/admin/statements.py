"""Ops → Health → Statements: what the server spends its time on, and how it goes about it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection, models
from django.db.models import F, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ops.admin.base import OpsModelAdmin
from ops.admin.filters import ChoiceFilter
from ops.admin.health_charts import Line, line_chart
from ops.admin.links import EMPTY
from ops.admin.looks import display
from ops.admin.words import ago, exactly, length
from ops.health.activity import outlined, without_constants
from ops.health.generic_plan import generic_plan
from ops.models import Statement

_SPANS = {"": dt.timedelta(days=1), "week": dt.timedelta(days=7), "month": dt.timedelta(days=30)}
_POINTS = 84


class SpanFilter(ChoiceFilter):
    """Of which stretch of time."""

    title = "stretch of time"
    parameter_name = "span"
    all_option = ("", "The last day")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Longer ones."""
        return [("week", "The last week"), ("month", "The last 30 days")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The rows are chosen and summed together, in get_queryset."""
        return queryset


def span_of(request: HttpRequest) -> dt.timedelta:
    """The stretch of time that is asked for."""
    return _SPANS.get(request.GET.get(SpanFilter.parameter_name, ""), _SPANS[""])


@admin.register(Statement)
class StatementAdmin(OpsModelAdmin):
    """Statements by the time they took in all."""

    change_list_template = "ops/statement_list.html"
    list_before_template = "ops/_statements.html"
    list_display = ("what", "mean", "calls", "total", "from_disk", "role")
    list_display_links = ("what",)
    list_filter = (SpanFilter,)
    search_fields = ("text", "role")
    search_help_text = "Words of the statement, or a role"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        if request.resolver_match and request.resolver_match.url_name == "ops_statement_change":
            return rows
        within = Q(samples__taken_at__gte=timezone.now() - span_of(request))
        sums = {
            "all_milliseconds": Sum("samples__milliseconds", filter=within),
            "all_calls": Sum("samples__calls", filter=within),
            "all_read": Sum("samples__blocks_read", filter=within),
            "all_hit": Sum("samples__blocks_hit", filter=within),
        }
        chosen: models.QuerySet[Any] = rows.defer("counters").filter(within).annotate(**sums)
        return chosen

    def get_ordering(self, request: HttpRequest) -> Any:
        if request.resolver_match and request.resolver_match.url_name == "ops_statement_change":
            return ("pk",)
        return (F("all_milliseconds").desc(), "pk")

    @display(description="Statement")
    def what(self, row: Statement) -> str:
        """Its beginning, without what people entered."""
        return outlined(row.text)

    @display(description="A call takes")
    def mean(self, row: Any) -> str:
        """On average."""
        return _milliseconds(row.all_milliseconds / row.all_calls) if row.all_calls else EMPTY

    @display(description="Calls")
    def calls(self, row: Any) -> str:
        """How often."""
        return f"{row.all_calls:,}"

    @display(description="In all")
    def total(self, row: Any) -> str:
        """All calls together."""
        return length(row.all_milliseconds / 1000)

    @display(description="Not in memory")
    def from_disk(self, row: Any) -> str:
        """The share of blocks that were read from elsewhere."""
        blocks = row.all_read + row.all_hit
        return f"{row.all_read / blocks:.1%}" if blocks else EMPTY

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Where the time went."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **(extra_context or {}),
            "title": "Statements",
            "tab": "statements",
            "filtered": any(key != "e" for key in request.GET),
        }
        response: HttpResponse = super().changelist_view(request, context)
        return response

    def detail(self, request: HttpRequest, row: Statement, now: dt.datetime) -> HttpResponse:
        """One statement: what it cost over time, and its plan."""
        user: Any = request.user
        return self.page(
            request,
            "ops/statement.html",
            "Statement",
            row,
            tab="statements",
            text=without_constants(row.text),
            facts=_facts(row, now),
            charts=_charts(row, now),
            plan=generic_plan(row.text),
            may_copy=user.is_platform_administrator,
        )


def _milliseconds(value: float) -> str:
    return f"{value:,.1f} ms" if value < 10_000 else length(value / 1000)


def _facts(row: Statement, now: dt.datetime) -> list[tuple[str, str]]:
    sums = row.samples.filter(taken_at__gte=now - _SPANS["week"]).aggregate(
        milliseconds=Sum("milliseconds"), calls=Sum("calls"), rows=Sum("rows"),
        written=Sum("blocks_written_temporarily"),
    )  # fmt: skip
    calls = sums["calls"] or 0
    facts = [
        ("Asked by", row.role),
        ("Last ran", f"{exactly(row.last_seen)} ({ago(row.last_seen, now)})"),
        ("Known since", exactly(row.first_seen)),
    ]
    if calls:
        facts += [
            ("Calls in a week", f"{calls:,}"),
            ("A call takes", _milliseconds(sums["milliseconds"] / calls)),
            ("In all", length(sums["milliseconds"] / 1000)),
            ("Rows a call", f"{sums['rows'] / calls:,.1f}"),
            ("Temporary files", f"{sums['written']:,} blocks" if sums["written"] else "none"),
        ]
    return facts


def _charts(row: Statement, now: dt.datetime) -> list[Any]:
    since = now - _SPANS["week"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_bin(make_interval(secs => %s), taken_at, %s) AS at,"
            " sum(milliseconds) / greatest(sum(calls), 1), sum(calls)"
            " FROM ops_statementsample WHERE statement_id = %s AND taken_at >= %s"
            " GROUP BY 1 ORDER BY 1",
            [_SPANS["week"].total_seconds() / _POINTS, since, row.pk, since],
        )
        rows = cursor.fetchall()
    charts = [
        line_chart(
            "A call takes",
            [Line("Milliseconds", [(at, float(mean)) for at, mean, _ in rows])],
            _milliseconds,
            "ms",
        ),
        line_chart(
            "Calls",
            [Line("Calls", [(at, float(calls)) for at, _, calls in rows])],
            lambda value: f"{value:,.0f}",
        ),
    ]
    return [chart for chart in charts if chart is not None]
