"""Ops → Recoveries: rows that came back, the preview before it, and the way back after it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ConfirmForm, button
from ops.admin.links import EMPTY
from ops.admin.looks import display
from ops.admin.recovery_words import plan_context, recovery_tag
from ops.admin.restore_answers import described
from ops.admin.restore_wizard import RECOVER, marks
from ops.admin.typed import GRAVE, RecoverForm
from ops.admin.words import ago, exactly, moment, two_lines
from ops.models import Recovery, RecoveryState, RunKind
from ops.restores.errors import RefusedError
from ops.restores.partial.recover import ask_for_recovery, ask_for_undo_recovery
from ops.restores.requests import RecoverRequest


def _is_preview(recovery: Recovery) -> bool:
    previewed = recovery.state == RecoveryState.PREVIEWED and bool(recovery.plan)
    return previewed and recovery.run is not None


def _is_applied(recovery: Recovery) -> bool:
    return recovery.state == RecoveryState.APPLIED


class _UndoForm(ConfirmForm):
    """Says what is put back."""

    def explanation(self) -> str:
        """Rows that were changed since are nobody's to overwrite."""
        return (
            "Every row it changed is put back to what it was before, unless somebody changed it "
            "since: then nothing is changed at all, and those rows are listed."
        )


@admin.register(Recovery)
class RecoveryAdmin(OpsModelAdmin):
    """Partial recoveries, previewed and applied."""

    change_list_template = "ops/list.html"
    list_display = ("when", "what", "standing", "source", "who")
    list_display_links = ("what",)
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("subject", "origin")
    search_help_text = "What was recovered, or from what"
    ordering = ("-started_at", "-pk")
    actions_detail = ("apply", "undo")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        if request.resolver_match and str(request.resolver_match.url_name).endswith("changelist"):
            # A plan has samples of every table, and no column needs it.
            rows = rows.defer("plan")
        return rows.select_related("run")

    @display(description="Began", ordering="started_at")
    def when(self, recovery: Recovery) -> SafeString:
        """When it began."""
        now, when = timezone.now(), recovery.started_at
        return two_lines(moment(when, now), ago(when, now), exactly(when))

    @display(description="What")
    def what(self, recovery: Recovery) -> str:
        """What was recovered."""
        return recovery.subject

    @display(description="State", ordering="state")
    def standing(self, recovery: Recovery) -> SafeString:
        """How it stands."""
        return recovery_tag(recovery)

    @display(description="From")
    def source(self, recovery: Recovery) -> str:
        """What it came from."""
        return recovery.origin

    @display(description="Who")
    def who(self, recovery: Recovery) -> SafeString | str:
        """Who asked for it."""
        run = recovery.run
        return EMPTY if run is None else two_lines(run.asked_by or EMPTY, run.via)

    def detail(self, request: HttpRequest, row: Recovery, now: dt.datetime) -> HttpResponse:
        """One recovery: the difference table by table, and what became of it."""
        title = "Preview" if row.state == RecoveryState.PREVIEWED else "Recovery"
        return self.page(
            request,
            "ops/recovery.html",
            f"{title}, {moment(row.started_at, now)}",
            row,
            **recovery_context(row, now),
        )

    @button(
        title="Recover…",
        icon="restore_page",
        question="Bring these rows back?",
        submit="Recover",
        form=RecoverForm,
        shown=_is_preview,
        permission=RECOVER,
        variant=GRAVE,
    )
    def apply(self, request: HttpRequest, row: Recovery, data: dict[str, Any]) -> HttpResponseBase:
        """Ask for what was previewed, for good."""
        if row.run is None:
            raise RefusedError(
                "Nobody knows any more what this preview was asked with. Nothing was changed; "
                "choose anew with Restore…"
            )
        wanted = replace(RecoverRequest.of_run(row.run), dry_run=False)
        return ask_once(
            request,
            RunKind.RECOVER,
            wanted.as_json(),
            lambda: ask_for_recovery(wanted, by=asker(request)),
        )

    @button(
        title="Undo",
        icon="undo",
        question="Take this recovery back?",
        form=_UndoForm,
        shown=_is_applied,
        permission=RECOVER,
        variant=GRAVE,
    )
    def undo(self, request: HttpRequest, row: Recovery, data: dict[str, Any]) -> HttpResponseBase:
        """Put the former rows back."""
        return ask_once(
            request,
            RunKind.UNDO,
            {"recovery": row.pk},
            lambda: ask_for_undo_recovery(row, by=asker(request)),
        )


def recovery_context(recovery: Recovery, now: dt.datetime) -> dict[str, Any]:
    """What a recovery's page, and the page of its run, show of it."""
    previewed = recovery.state == RecoveryState.PREVIEWED
    return {
        "recovery": recovery,
        "recovery_tag": recovery_tag(recovery),
        "is_preview": previewed,
        "marks": marks("preview") if previewed else [],
        "can_undo": _is_applied(recovery),
        "recovery_facts": _facts(recovery, now),
        **plan_context(recovery),
    }


def _facts(recovery: Recovery, now: dt.datetime) -> list[tuple[str, str]]:
    run = recovery.run
    wanted = [] if run is None else described(RecoverRequest.of_run(run))
    facts = [
        ("From", recovery.origin),
        ("Holds", _told(recovery.holds, now)),
        *wanted,
        ("Asked for by", "" if run is None else f"{run.asked_by}, through {run.via}"),
        ("Approved by", "" if run is None else run.approved_by),
        ("Rows changed", _told(recovery.applied_at, now)),
        ("Undone", _told(recovery.undone_at, now)),
        ("Undone by", recovery.undone_by),
    ]
    return [(name, value) for name, value in facts if value]


def _told(when: dt.datetime | None, now: dt.datetime) -> str:
    return "" if when is None else f"{exactly(when)} ({ago(when, now)})"
