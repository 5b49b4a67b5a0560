"""Ops → Drills: rehearsed restores, whether they held, how long they took, over time."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ConfirmForm, button
from ops.admin.drill_trend import trends
from ops.admin.links import EMPTY
from ops.admin.looks import display
from ops.admin.phases import phases
from ops.admin.run_state import has_died, state_of
from ops.admin.standing import standing
from ops.admin.words import ago, exactly, length, moment, run_title, tag, two_lines
from ops.backups.errors import BackupError
from ops.backups.plan import plan
from ops.models import Backup, BackupKind, Drill, DrillVerdict, Run, RunKind
from ops.readiness.reading import readiness
from ops.readiness.sentences import answer
from ops.restores.drills.drill import ask_for_drill
from ops.restores.requests import DrillRequest

RIGHT = "ops.run_drill"
_VERDICTS = {
    DrillVerdict.RUNNING: ("warning", "progress_activity"),
    DrillVerdict.PASSED: ("success", "verified"),
    DrillVerdict.INCOMPLETE: ("warning", "rule"),
    DrillVerdict.FAILED: ("danger", "error"),
    DrillVerdict.ABORTED: ("", "block"),
}
_STEPS = {
    "held": ("success", "check_circle", "Held"),
    "failed": ("danger", "error", "Failed"),
    "skipped": ("", "skip_next", "Skipped"),
}
_KINDS = (BackupKind.FULL, BackupKind.DATA, BackupKind.TABLES, BackupKind.SCHEMA)
_PHYSICAL = (BackupKind.BASE, BackupKind.INCREMENTAL)
_OFFERED = 30


def verdict_tag(drill: Drill) -> SafeString:
    """A drill's verdict."""
    verdict = DrillVerdict(drill.verdict)
    return tag(str(verdict.label), *_VERDICTS[verdict], drill.note)


class DrillForm(ConfirmForm):
    """Asks what to rehearse."""

    which = forms.ChoiceField(label="What", widget=UnfoldAdminSelectWidget())
    # Shown for the one choice that takes it: ops.css.
    at = forms.CharField(
        label="Which moment",
        required=False,
        max_length=100,
        help_text="A time (2026-11-23 14:05:00), a WAL position or a restore point.",
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = timezone.now()
        rows = Backup.objects.good().of_kind(*_KINDS, *_PHYSICAL).newest_first().defer("manifest")
        self.fields["which"].choices = [  # type: ignore[attr-defined]
            ("latest", "The newest backup"),
            ("random", "A random backup"),
            ("moment", "A moment"),
            *((f"backup:{row.name}", _offered(row, now)) for row in rows[:_OFFERED]),
        ]

    def explanation(self) -> str:
        """Where it happens."""
        return (
            "It is restored on a private server that is thrown away afterwards, and asked ever "
            "harder questions. The live database is not touched; this machine works for a while."
        )

    def clean(self) -> dict[str, Any]:
        """A moment has to be said where one is wanted."""
        data = dict(self.cleaned_data)
        if data.get("which") == "moment" and not data.get("at", "").strip():
            self.add_error("at", "Say which moment.")
        return data

    def request(self) -> DrillRequest:
        """What is asked for."""
        return drill_request(self.cleaned_data)


def _offered(row: Backup, now: dt.datetime) -> str:
    told = f"{row.get_kind_display()}, {moment(row.taken_at, now)}"
    return told if row.environment == settings.ENVIRONMENT else f"{told}, of {row.environment}"


def drill_request(data: dict[str, Any]) -> DrillRequest:
    """What the dialog's answers ask for."""
    which: str = data["which"]
    return DrillRequest(
        backup=which.removeprefix("backup:") if which.startswith("backup:") else "",
        random=which == "random",
        moment=data["at"].strip() if which == "moment" else "",
    )


def begin_drill(request: HttpRequest, wanted: DrillRequest) -> HttpResponseBase:
    """Ask for a drill; go to its run."""
    return ask_once(
        request,
        RunKind.DRILL,
        wanted.as_json(),
        lambda: ask_for_drill(wanted, by=asker(request)),
    )


@admin.register(Drill)
class DrillAdmin(OpsModelAdmin):
    """Rehearsals; above them the clock and the trend."""

    change_list_template = "ops/drill_list.html"
    list_before_template = "ops/_drills.html"
    list_display = ("when", "what", "standing", "usable_after", "lost", "took")
    list_display_links = ("what",)
    list_filter = (("verdict", ChoicesDropdownFilter),)
    ordering = ("-started_at", "-pk")
    actions_list = ("drill_now",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("run", "backup").defer("backup__manifest")

    @display(description="Began", ordering="started_at")
    def when(self, drill: Drill) -> SafeString:
        """When it began."""
        now, when = timezone.now(), drill.started_at
        return two_lines(moment(when, now), ago(when, now), exactly(when))

    @display(description="Of")
    def what(self, drill: Drill) -> str:
        """What was rehearsed."""
        return drill.subject

    @display(description="Verdict", ordering="verdict")
    def standing(self, drill: Drill) -> SafeString:
        """What it came to."""
        return verdict_tag(drill)

    @display(description="Usable after", ordering="rto_seconds")
    def usable_after(self, drill: Drill) -> str:
        """RTO."""
        return EMPTY if drill.rto_seconds is None else length(drill.rto_seconds)

    @display(description="Would be lost", ordering="rpo_seconds")
    def lost(self, drill: Drill) -> str:
        """RPO."""
        return EMPTY if drill.rpo_seconds is None else length(drill.rpo_seconds)

    @display(description="Took", ordering="seconds")
    def took(self, drill: Drill) -> str:
        """The whole drill."""
        return EMPTY if drill.seconds is None else length(drill.seconds)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The clock, what is going on, the trend, the rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        rto, rpo = _promised()
        ready = readiness(now)
        running = Run.objects.unfinished().filter(kind=RunKind.DRILL).newest_first()[:10]
        ended = Drill.objects.exclude(verdict=DrillVerdict.RUNNING).newest_first()
        context = {
            **(extra_context or {}),
            "title": "Drills",
            "readiness": ready,
            "answer": answer(ready),
            "missing": standing(ready).missing,
            "trends": trends(list(ended.defer("steps")[:30]), rto=rto, rpo=rpo),
            "live": [
                (run, run_title(run), state_of(run, now))
                for run in running
                if not has_died(run, now)
            ],
        }
        response: HttpResponse = super().changelist_view(request, context)
        return response

    def detail(self, request: HttpRequest, row: Drill, now: dt.datetime) -> HttpResponse:
        """One drill: the ladder, and where the time went."""
        return self.page(
            request,
            "ops/drill.html",
            f"Drill, {moment(row.started_at, now)}",
            row,
            **drill_context(row, now),
        )

    @button(
        title="Drill now",
        icon="fire_extinguisher",
        question="Rehearse a restore?",
        submit="Drill now",
        form=DrillForm,
        permission=RIGHT,
        variant=ActionVariant.PRIMARY,
    )
    def drill_now(self, request: HttpRequest, row: None, data: dict[str, Any]) -> HttpResponseBase:
        """Rehearse one."""
        return begin_drill(request, drill_request(data))


def drill_context(drill: Drill, now: dt.datetime) -> dict[str, Any]:
    """What a drill's page, and the page of its run, show of it."""
    return {
        "drill": drill,
        "verdict_tag": verdict_tag(drill),
        "ladder": [_rung(step) for step in drill.steps],
        "phases": phases([step for step in drill.steps if step.get("seconds")]),
        "drill_facts": _facts(drill, now),
    }


def _rung(step: dict[str, Any]) -> dict[str, Any]:
    state = str(step.get("state", ""))
    colour, icon, word = _STEPS.get(state, ("", "help", state))
    seconds = step.get("seconds")
    return {
        "title": str(step.get("title") or step.get("step") or ""),
        "tag": tag(word, colour, icon),
        "state": state,
        "took": "" if seconds is None else length(float(seconds)),
        "found": str(step.get("found") or ""),
    }


def _facts(drill: Drill, now: dt.datetime) -> list[tuple[str, str]]:
    rto, rpo = _promised()
    run = drill.run
    facts = [
        ("Of", drill.subject),
        ("Moment asked for", drill.target),
        ("Holds", "" if drill.holds is None else f"{exactly(drill.holds)}"),
        ("Usable after (RTO)", _against(drill.rto_seconds, rto)),
        ("Would be lost (RPO)", _against(drill.rpo_seconds, rpo)),
        ("Took", "" if drill.seconds is None else length(drill.seconds)),
        ("Began", f"{exactly(drill.started_at)} ({ago(drill.started_at, now)})"),
        ("Asked for by", "" if run is None else f"{run.asked_by}, through {run.via}"),
    ]
    return [(name, value) for name, value in facts if value]


def _against(seconds: float | None, promised: float | None) -> str:
    if seconds is None:
        return ""
    if promised is None:
        return length(seconds)
    kept = "promised" if seconds <= promised else "more than the promised"
    return f"{length(seconds)} ({kept} {length(promised)})"


def _promised() -> tuple[float | None, float | None]:
    """Seconds that restoring may take and that may be lost, as settings promise."""
    try:
        promised = plan()
    except BackupError:
        return None, None
    return promised.rto.total_seconds(), promised.rpo.total_seconds()
