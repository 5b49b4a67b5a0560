"""Ops → Health: is it well, what is wrong, since when, and what to do about it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ops.admin.activity import ActivityPages
from ops.admin.filters import ChoiceFilter
from ops.admin.health_buttons import HealthButtons
from ops.admin.health_charts import health_charts
from ops.admin.health_rows import check_row, facts, finding_row
from ops.admin.health_standing import health_standing
from ops.admin.run_state import has_died, state_of
from ops.admin.words import exactly, moment, run_title
from ops.health.selection import all_checks
from ops.models import Area, CheckResult, Finding, Run, RunKind

QUIET, GONE, EVERYTHING = "quiet", "gone", "everything"
STANDINGS = ((QUIET, "Snoozed or accepted"), (GONE, "Gone"), (EVERYTHING, "Everything"))


class StandingFilter(ChoiceFilter):
    """Open ones that count, unless somebody asks for others."""

    title = "standing"
    parameter_name = "standing"
    all_option = ("", "Open")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What else there is."""
        return list(STANDINGS)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Choose the rows."""
        now, value = timezone.now(), self.value()
        if value == EVERYTHING:
            return queryset
        if value == GONE:
            return queryset.filter(resolved_at__isnull=False)
        if value == QUIET:
            return queryset.quiet(now)
        return queryset.loud(now)


@admin.register(Finding)
class FindingAdmin(ActivityPages, HealthButtons):
    """Findings; above them the answer, the areas and the pictures."""

    change_list_template = "ops/health.html"
    list_before_template = "ops/_health.html"
    list_display = ("title",)
    list_filter = (
        StandingFilter,
        ("area", ChoicesDropdownFilter),
        ("severity", ChoicesDropdownFilter),
    )
    search_fields = ("title", "subject", "check_name", "assigned_to")
    search_help_text = "Title, object, check or person"

    def get_ordering(self, request: HttpRequest) -> Any:
        if request.GET.get(StandingFilter.parameter_name) == GONE:
            return ("-resolved_at", "-pk")
        return Finding.objects.worst_first().query.order_by

    def get_paginator(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        """Without filters, the rows are counted already."""
        paginator = super().get_paginator(request, *arguments, **options)
        if "_srvc_number" in request.__dict__:
            paginator.count = request.__dict__["_srvc_number"]
        return paginator

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The answer, what is going on, the pictures, the rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        filtered = any(key != "e" for key in request.GET)
        running = Run.objects.unfinished().filter(kind=RunKind.HEALTH).newest_first()[:10]
        live = [run for run in running if not has_died(run, now)]
        standing = health_standing(now)
        if not filtered:
            request.__dict__["_srvc_number"] = standing.loud
        context = {
            **(extra_context or {}),
            "title": "Health",
            "tab": "findings",
            "standing": standing,
            "filtered": filtered,
            "area": _known(request.GET.get("area__exact", "")),
            **_choices(request.GET.get(StandingFilter.parameter_name, "")),
            "charts": [] if filtered else health_charts(now),
            "live": [(run, run_title(run), state_of(run, now)) for run in live],
        }
        response: HttpResponse = super().changelist_view(request, context)
        # The rows of the page, as it shows them.
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None:
            may_decide = self.may_press(request, self.snooze, None)
            changelist.findings = [
                finding_row(row, now, buttons=may_decide) for row in changelist.result_list
            ]
        return response

    # --- one finding -------------------------------------------------------------------------

    def detail(self, request: HttpRequest, row: Finding, now: dt.datetime) -> HttpResponse:
        """One finding: what it means, what to do, and what became of it."""
        check = next((each for each in all_checks() if each.name == row.check_name), None)
        return self.page(
            request,
            "ops/finding.html",
            "Finding",
            row,
            finding=row,
            shown=finding_row(row, now, buttons=False),
            check=check and check_row(check, None, now),
            facts=facts(row, now),
            history=[
                (event, moment(event.at, now), exactly(event.at)) for event in row.events.all()[:50]
            ],
        )

    # --- the checks ----------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        checks = path(
            "checks/",
            self.admin_site.admin_view(require_GET(self.checks_view)),
            name="ops_finding_checks",
        )
        return [checks, *super().get_urls()]

    def checks_view(self, request: HttpRequest) -> HttpResponse:
        """Every check: what it looks for and why, when it ran, and how that went."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        results = {row.check_name: row for row in CheckResult.objects.defer("memory")}
        rows = [check_row(check, results.get(check.name), now) for check in all_checks()]
        areas = [(str(area.label), [row for row in rows if row.area == area]) for area in Area]
        return self.own_page(
            request,
            "ops/health_checks.html",
            "Checks",
            tab="checks",
            areas=[each for each in areas if each[1]],
        )

    def own_page(
        self, request: HttpRequest, template: str, title: str, **context: Any
    ) -> TemplateResponse:
        """Show a page of Health that is no row's."""
        response = TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "has_view_permission": True,
                **context,
            },
        )
        response["Cache-Control"] = "no-store"
        return response


def _known(area: str) -> str:
    return area if area in Area.values else ""


def _choices(chosen: str) -> dict[str, Any]:
    """The links above the list, and which of them leads to what is shown."""
    offered = (StandingFilter.all_option, *STANDINGS)
    chosen = chosen if chosen in dict(offered) else ""
    return {
        "choices": [(value, words, value == chosen) for value, words in offered],
        "standing_value": chosen,
    }
