"""Ops → Runs: who did what, how far it is, how it ended."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.enums import ActionVariant

from ops.admin.account_runs import AccountRunButtons
from ops.admin.approvals import ApproveForm, approve, awaits, number_awaiting
from ops.admin.base import asker
from ops.admin.buttons import OptionalReasonForm, button
from ops.admin.filters import DayRangeFilter, StatusFilter
from ops.admin.links import EMPTY
from ops.admin.looks import display
from ops.admin.run_results import outcome_of
from ops.admin.run_state import died, has_died, state_of
from ops.admin.upload_restoring import UndoUploadsButton
from ops.admin.words import ago, exactly, length, moment, run_title, status_tag, two_lines
from ops.background import may_have
from ops.models import Run
from ops.restores import approval
from ops.restores.errors import RefusedError
from ops.runs import ask_to_cancel


def _may_be_stopped(run: Run) -> bool:
    going_on = not run.has_ended and not has_died(run, timezone.now())
    return going_on and run.cancel_asked_at is None


@admin.register(Run)
class RunAdmin(AccountRunButtons, UndoUploadsButton):
    """The record of every operation."""

    change_list_template = "ops/list.html"
    list_before_template = "ops/_awaiting.html"
    list_display = ("when", "what", "standing", "outcome", "took", "who")
    list_display_links = ("what",)
    list_filter = (
        ("kind", ChoicesDropdownFilter),
        StatusFilter,
        ("asked_at", DayRangeFilter),
    )
    search_fields = ("subject", "asked_by")
    search_help_text = "Backup or person"
    ordering = ("-asked_at", "-pk")
    actions_detail = (
        *("approve", "reject"),
        *("download_archive", "import_account", "look_again", "discard_upload", "undo_uploads"),
        "cancel",
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("backup").defer("backup__manifest")

    @display(description="Asked for", ordering="asked_at")
    def when(self, run: Run) -> SafeString:
        """When it was asked for."""
        now = timezone.now()
        return two_lines(moment(run.asked_at, now), ago(run.asked_at, now), exactly(run.asked_at))

    @display(description="Run")
    def what(self, run: Run) -> str:
        """What, and to what."""
        return run_title(run)

    @display(description="Status", ordering="status")
    def standing(self, run: Run) -> SafeString:
        """How it stands."""
        return status_tag(run.status, died=has_died(run, timezone.now()))

    @display(description="Outcome")
    def outcome(self, run: Run) -> str:
        """What became of it, shortly."""
        is_dead = has_died(run, timezone.now())
        words = run.message or (died(run) if is_dead else run.phase[:1].upper() + run.phase[1:])
        return words if len(words) <= 120 else f"{words[:119]}…"

    @display(description="Took")
    def took(self, run: Run) -> str:
        """From its beginning to its end."""
        seconds = seconds_of(run)
        return EMPTY if seconds is None else length(seconds)

    @display(description="Who", ordering="asked_by")
    def who(self, run: Run) -> SafeString:
        """Who asked, through what."""
        return two_lines(run.asked_by or EMPTY, run.via)

    @button(
        title="Cancel",
        icon="stop_circle",
        question="Stop this? Nothing of it is kept.",
        submit="Stop it",
        shown=_may_be_stopped,
    )
    def cancel(self, request: HttpRequest, row: Run, data: dict[str, Any]) -> str:
        """Ask it to stop."""
        if has_died(row, timezone.now()):
            raise RefusedError(died(row))
        ask_to_cancel(row, by=asker(request).name)
        return "It was asked to stop, and does at its next step."

    @button(
        title="Approve",
        icon="approval_delegation",
        question="Let this begin?",
        form=ApproveForm,
        shown=awaits,
        permission=approval.RIGHT,
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, row: Run, data: dict[str, Any]) -> str:
        """Say the second yes."""
        return approve(row, by=asker(request))

    @button(
        title="Reject",
        icon="block",
        question="Reject this? It ends before it begins.",
        form=OptionalReasonForm,
        shown=awaits,
        permission=approval.RIGHT,
    )
    def reject(self, request: HttpRequest, row: Run, data: dict[str, Any]) -> str:
        """Say no."""
        approval.reject(row, by=asker(request), reason=data["reason"])
        return "It is rejected. Nothing of it was begun."

    def may_press(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> bool:
        """Whoever may ask for such a run may stop one; who asked for it decides nothing."""
        assert isinstance(row, Run)
        if not pressed.permission:
            return self.has_view_permission(request, row) and may_have(request.user, row)
        decides = pressed.permission == approval.RIGHT
        own = decides and approval.is_asker(row, asker(request))
        return not own and super().may_press(request, pressed, row)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The record, and above it how much of it waits for a decision."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**(extra_context or {}), "awaiting": number_awaiting()}
        response: HttpResponse = super().changelist_view(request, context)
        return response

    def detail(self, request: HttpRequest, row: Run, now: dt.datetime) -> HttpResponse:
        """One run: live while it goes on, its outcome afterwards."""
        return self.page(
            request,
            "ops/run.html",
            run_title(row),
            row,
            run=row,
            what=run_title(row),
            state=state_of(row, now),
            tag=status_tag(row.status, died=has_died(row, now)),
            facts=_facts(row, now),
            **outcome_of(row, now),
        )

    def get_urls(self) -> list[URLPattern]:
        status = path(
            "<int:pk>/status/",
            self.admin_site.admin_view(require_GET(self.status_view)),
            name="ops_run_status",
        )
        return [status, *super().get_urls()]

    def status_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How it stands, for the page's script."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = Run.objects.filter(pk=pk).first()
        if run is None:
            raise Http404
        response = JsonResponse(state_of(run, timezone.now()))
        response["Cache-Control"] = "no-store"
        return response


def seconds_of(run: Run) -> float | None:
    """How long it took; None while it goes on, and when it never began."""
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def _facts(run: Run, now: dt.datetime) -> list[tuple[str, str]]:
    facts = [
        ("Asked for", f"{exactly(run.asked_at)} ({ago(run.asked_at, now)})"),
        ("By", f"{run.asked_by or 'nobody known'}, through {run.via or 'nothing known'}"),
    ]
    if run.subject and run.subject != run_title(run):
        facts.insert(0, ("To what", run.subject))
    if run.approved_at:
        facts.append(("Approved", f"{exactly(run.approved_at)} by {run.approved_by}"))
    if run.started_at:
        facts.append(("Began", exactly(run.started_at)))
    if run.host:
        facts.append(("Where", f"{run.host}, process {run.process}"))
    if run.cancel_asked_at:
        facts.append(("Asked to stop", f"{exactly(run.cancel_asked_at)} by {run.cancel_asked_by}"))
    if run.finished_at:
        facts.append(("Ended", exactly(run.finished_at)))
    seconds = seconds_of(run)
    if seconds is not None:
        facts.append(("Took", length(seconds)))
    return facts
