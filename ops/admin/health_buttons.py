"""What people do with findings: look again, know of one, give it to somebody, not now."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ConfirmForm, ReasonForm, button
from ops.health import deciding
from ops.health.look import ask_for_look
from ops.models import Area, Finding, RunKind

RUN = "ops.run_health"
DECIDE = "ops.manage_finding"
_TIMES = {
    "1": "an hour",
    "24": "a day",
    "72": "three days",
    "168": "a week",
    "720": "30 days",
    "2160": "90 days",
}


class CheckNowForm(ConfirmForm):
    """Asks where to look."""

    area = forms.ChoiceField(
        label="Where",
        required=False,
        choices=[("", "Everywhere"), *Area.choices],
        widget=UnfoldAdminSelectWidget(),
    )

    def explanation(self) -> str:
        """What it does to the database."""
        return "The checks read, and change nothing. They take seconds."


class AcknowledgeForm(ConfirmForm):
    """Takes a note."""

    note = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget())

    def explanation(self) -> str:
        """What it means."""
        return "It stays open, and everybody sees that you know of it."


class AssignForm(ConfirmForm):
    """Asks whose it is."""

    to = forms.EmailField(
        label="To",
        required=False,
        help_text="An e-mail address; empty: nobody.",
        widget=UnfoldAdminEmailInputWidget(),
    )


class SnoozeForm(ReasonForm):
    """Asks for how long, and why."""

    hours = forms.ChoiceField(
        label="For", choices=list(_TIMES.items()), initial="24", widget=UnfoldAdminSelectWidget()
    )
    field_order = ("hours", "reason")

    def explanation(self) -> str:
        """What it means."""
        return "Until then it counts for nothing and nobody is told of it."


def is_open(finding: Finding) -> bool:
    """Whether there is anything to decide."""
    return finding.is_open


def is_asleep(finding: Finding) -> bool:
    """Whether it is snoozed now."""
    return finding.is_open and finding.is_snoozed(timezone.now())


class HealthButtons(OpsModelAdmin):
    """The buttons of findings and of the page above them."""

    actions_list = ("check_now",)
    actions_detail = ("acknowledge", "assign", "snooze", "wake")

    @button(
        title="Check now",
        icon="monitor_heart",
        question="Look now?",
        submit="Check now",
        form=CheckNowForm,
        permission=RUN,
        variant=ActionVariant.PRIMARY,
    )
    def check_now(self, request: HttpRequest, row: None, data: dict[str, Any]) -> HttpResponseBase:
        """Run checks in the worker."""
        areas = [data["area"]] if data["area"] else []
        return ask_once(
            request,
            RunKind.HEALTH,
            {"areas": areas, "checks": []},
            lambda: ask_for_look(by=asker(request), areas=areas),
        )

    @button(
        title="Acknowledge",
        icon="done",
        question="Say that you know of it?",
        form=AcknowledgeForm,
        shown=lambda finding: finding.is_open and finding.acknowledged_at is None,
        permission=DECIDE,
    )
    def acknowledge(self, request: HttpRequest, row: Finding, data: dict[str, Any]) -> str:
        """Somebody knows."""
        deciding.acknowledge(row, by=asker(request).name, now=timezone.now(), note=data["note"])
        return "It is acknowledged."

    @button(
        title="Assign",
        icon="person_add",
        question="Whose is it?",
        form=AssignForm,
        initial=lambda finding: {"to": finding.assigned_to},
        shown=is_open,
        permission=DECIDE,
    )
    def assign(self, request: HttpRequest, row: Finding, data: dict[str, Any]) -> str:
        """Give it to somebody."""
        deciding.assign(row, data["to"], by=asker(request).name, now=timezone.now())
        return f"It is {data['to']}'s now." if data["to"] else "It is nobody's now."

    @button(
        title="Snooze",
        icon="snooze",
        question="Hear nothing of it for a while?",
        form=SnoozeForm,
        shown=lambda finding: finding.is_open and not is_asleep(finding),
        permission=DECIDE,
    )
    def snooze(self, request: HttpRequest, row: Finding, data: dict[str, Any]) -> str:
        """Not now."""
        now = timezone.now()
        until = now + dt.timedelta(hours=int(data["hours"]))
        deciding.snooze(row, until, data["reason"], by=asker(request).name, now=now)
        return f"It is snoozed for {_TIMES[data['hours']]}."

    @button(
        title="Wake",
        icon="notifications_active",
        question="Hear of it again?",
        shown=is_asleep,
        permission=DECIDE,
    )
    def wake(self, request: HttpRequest, row: Finding, data: dict[str, Any]) -> str:
        """Now after all."""
        deciding.wake(row, by=asker(request).name, now=timezone.now())
        return "It counts again."
