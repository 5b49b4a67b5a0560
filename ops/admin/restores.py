"""Ops → Restore: what can be brought back, what was, and the way back from that."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant

from ops.admin.account_archives import AccountViews
from ops.admin.asking import ask_once
from ops.admin.base import asker
from ops.admin.buttons import button
from ops.admin.links import EMPTY
from ops.admin.looks import display
from ops.admin.overview import overview
from ops.admin.phases import phases
from ops.admin.recovery_words import recovery_tag
from ops.admin.restore_wizard import RECOVER, RESTORE, WizardViews, wizard_url
from ops.admin.run_state import has_died, state_of
from ops.admin.typed import UndoRestoreForm
from ops.admin.upload_restoring import newest_media_backup
from ops.admin.words import ago, exactly, moment, run_title, status_tag, tag, two_lines
from ops.models import Recovery, Restore, RestoreState, Run, RunKind
from ops.readiness.sentences import answer
from ops.restores.complete.undo import ask_for_undo

_STATES = {
    RestoreState.PREPARING: ("info", "pending"),
    RestoreState.BESIDE: ("primary", "library_add_check"),
    RestoreState.SWAPPED: ("success", "check_circle"),
    RestoreState.UNDONE: ("", "undo"),
    RestoreState.FAILED: ("danger", "error"),
}
_ACCOUNTS = (RunKind.EXPORT, RunKind.IMPORT)
_KINDS = (RunKind.RESTORE, RunKind.RECOVER, RunKind.UNDO, *_ACCOUNTS)
_RECOVERIES_SHOWN = 8
_ACCOUNTS_SHOWN = 5


def restore_tag(restore: Restore) -> SafeString:
    """A restore's state."""
    state = RestoreState(restore.state)
    return tag(str(state.label), *_STATES[state], restore.note)


def may_be_undone(restore: Restore) -> bool:
    """Whether the database it replaced is still there."""
    kept = bool(restore.kept_database) and restore.dropped_at is None
    return restore.state == RestoreState.SWAPPED and kept


@admin.register(Restore)
class RestoreAdmin(AccountViews, WizardViews):
    """Complete restores; above them what can be brought back, and the recoveries of rows."""

    change_list_template = "ops/restore_list.html"
    list_before_template = "ops/_restores.html"
    list_display = ("when", "what", "standing", "data_of", "way_back", "who")
    list_display_links = ("what",)
    ordering = ("-started_at", "-pk")
    actions_list = ("begin", "export_account", "import_account")
    actions_detail = ("undo",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("run", "backup").defer("backup__manifest")

    @display(description="Began", ordering="started_at")
    def when(self, restore: Restore) -> SafeString:
        """When it began."""
        now, when = timezone.now(), restore.started_at
        return two_lines(moment(when, now), ago(when, now), exactly(when))

    @display(description="From")
    def what(self, restore: Restore) -> str:
        """What it came from."""
        return restore.origin

    @display(description="State", ordering="state")
    def standing(self, restore: Restore) -> SafeString:
        """How far it came."""
        return restore_tag(restore)

    @display(description="Holds", ordering="holds")
    def data_of(self, restore: Restore) -> str:
        """The moment its data is of."""
        return EMPTY if restore.holds is None else moment(restore.holds, timezone.now())

    @display(description="Way back")
    def way_back(self, restore: Restore) -> str:
        """Until when it can be undone."""
        if not may_be_undone(restore):
            return EMPTY
        if restore.kept_until is None:
            return "Undo"
        return f"Undo until {moment(restore.kept_until, timezone.now())}"

    @display(description="Who")
    def who(self, restore: Restore) -> SafeString | str:
        """Who asked for it."""
        run = restore.run
        return EMPTY if run is None else two_lines(run.asked_by or EMPTY, run.via)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The answer, what is going on, what can be brought back, what was."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        rows = Recovery.objects.newest_first().select_related("run").defer("plan")
        recoveries = rows[:_RECOVERIES_SHOWN] if request.user.has_perm("ops.view_recovery") else []
        seen = overview(now)
        unfinished = Run.objects.unfinished().filter(kind__in=_KINDS).newest_first()[:10]
        context = {
            **(extra_context or {}),
            "title": "Restore",
            "readiness": seen.readiness,
            "answer": answer(seen.readiness),
            "missing": seen.standing.missing,
            "overview": seen,
            "live": [
                (run, run_title(run), state_of(run, now))
                for run in unfinished
                if not has_died(run, now)
            ],
            "recoveries": [
                {"row": row, "tag": recovery_tag(row), "when": moment(row.started_at, now)}
                for row in recoveries
            ],
            "accounts": _accounts_as_files(request, now),
            "media_backup": newest_media_backup(),
            "may_begin": any(request.user.has_perm(right) for right in (RESTORE, RECOVER)),
            "wizard": wizard_url(),
        }
        response: HttpResponse = super().changelist_view(request, context)
        return response

    def detail(self, request: HttpRequest, row: Restore, now: dt.datetime) -> HttpResponse:
        """One restore: what was compared, where the time went, what is kept."""
        return self.page(
            request,
            "ops/restore.html",
            f"Restore, {moment(row.started_at, now)}",
            row,
            **restore_context(row, now),
        )

    def may_press(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> bool:
        """Either right opens the wizard, which shows what it is good for."""
        if pressed.__name__ != "begin":
            return super().may_press(request, pressed, row)
        may = any(request.user.has_perm(right) for right in (RESTORE, RECOVER))
        return self.has_view_permission(request, row) and may

    @button(title="Restore…", icon="settings_backup_restore", variant=ActionVariant.PRIMARY)
    def begin(self, request: HttpRequest, row: None, data: dict[str, Any]) -> HttpResponseBase:
        """Open the wizard."""
        return HttpResponseRedirect(wizard_url())

    @button(
        title="Undo",
        icon="undo",
        question="Take this restore back?",
        form=UndoRestoreForm,
        shown=may_be_undone,
        permission=RESTORE,
        variant=ActionVariant.DANGER,
    )
    def undo(self, request: HttpRequest, row: Restore, data: dict[str, Any]) -> HttpResponseBase:
        """Swap the replaced database back."""
        return ask_once(
            request,
            RunKind.UNDO,
            {"restore": row.pk},
            lambda: ask_for_undo(row, by=asker(request)),
        )


def _accounts_as_files(request: HttpRequest, now: dt.datetime) -> list[dict[str, Any]]:
    if not request.user.has_perm("ops.view_run"):
        return []
    runs = Run.objects.filter(kind__in=_ACCOUNTS).newest_first().defer("result")
    return [
        {
            "run": run,
            "title": run_title(run),
            "tag": status_tag(run.status, died=has_died(run, now)),
            "when": moment(run.asked_at, now),
        }
        for run in runs[:_ACCOUNTS_SHOWN]
    ]


def restore_context(restore: Restore, now: dt.datetime) -> dict[str, Any]:
    """What a restore's page, and the page of its run, show of it."""
    return {
        "restore": restore,
        "restore_tag": restore_tag(restore),
        "phases": phases(restore.phases),
        "can_undo": may_be_undone(restore),
        "restore_facts": _facts(restore, now),
    }


def _facts(restore: Restore, now: dt.datetime) -> list[tuple[str, str]]:
    run = restore.run
    facts = [
        ("From", restore.origin),
        ("Holds", "" if restore.holds is None else _told(restore.holds, now)),
        ("Database", restore.database),
        ("Asked for by", "" if run is None else f"{run.asked_by}, through {run.via}"),
        ("Approved by", "" if run is None else run.approved_by),
        ("Took its place", "" if restore.swapped_at is None else _told(restore.swapped_at, now)),
        ("Beside, as", restore.beside if restore.state == RestoreState.BESIDE else ""),
        ("Replaced database", _kept(restore, now)),
        ("Backup of what was replaced", str(restore.safety_backup or "")),
        ("Undone", "" if restore.undone_at is None else _undone(restore, now)),
    ]
    return [(name, value) for name, value in facts if value]


def _kept(restore: Restore, now: dt.datetime) -> str:
    if not restore.kept_database:
        return ""
    if restore.dropped_at is not None:
        return f"{restore.kept_database}, dropped {ago(restore.dropped_at, now)}"
    until = "" if restore.kept_until is None else f" until {exactly(restore.kept_until)}"
    return f"kept as {restore.kept_database}{until}"


def _undone(restore: Restore, now: dt.datetime) -> str:
    assert restore.undone_at is not None
    return f"{_told(restore.undone_at, now)} by {restore.undone_by}"


def _told(when: dt.datetime, now: dt.datetime) -> str:
    return f"{exactly(when)} ({ago(when, now)})"
