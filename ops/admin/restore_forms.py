"""What the restore wizard asks. Answers travel in the address, so that going back loses none."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextInputWidget

from ops.admin.restore_answers import EVERYTHING, MOMENT, Answers, choices
from ops.admin.words import exactly, moment, size
from ops.backups.wal.windows import restorable_windows
from ops.models import Backup, BackupKind, RestorePoint

_MOST_BACKUPS = 50
_MOST_OF_OTHERS = 10  # backups of other environments
_MOST_POINTS = 20
WHOLE = (BackupKind.FULL, BackupKind.DATA)
PARTS = (BackupKind.FULL, BackupKind.DATA, BackupKind.TABLES)


class StepForm(forms.Form):
    """One step; it knows the answers to the steps before it and adds its own."""

    def __init__(self, *args: Any, answers: Answers, **kwargs: Any) -> None:
        self.answers = answers
        super().__init__(*args, **kwargs)
        self.label_suffix = ""

    def choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        """Give a field its choices."""
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def keep(self) -> None:
        """Add what was answered to the answers."""
        raise NotImplementedError


class WhatForm(StepForm):
    """Step 1: how much comes back."""

    what = forms.ChoiceField(label="What do you need back?", widget=UnfoldAdminRadioSelectWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choose("what", [(name, f"{title}: {text}") for name, title, text in choices()])

    def keep(self) -> None:
        """Keep it."""
        self.answers.what = self.cleaned_data["what"]


class SourceForm(StepForm):
    """Step 2: from which backup, or which moment."""

    source = forms.ChoiceField(label="From which?", widget=UnfoldAdminRadioSelectWidget())
    at = forms.CharField(
        label="At which moment?",
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": "1"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.windows = restorable_windows()
        what = self.answers.what
        offered: list[tuple[str, str]] = []
        if what != MOMENT:
            offered += self._backups(WHOLE if what == EVERYTHING else PARTS)
        if what != EVERYTHING:
            if self.windows:
                offered.append(("moment", "A moment of my choice"))
            offered += [
                (f"point:{point.name}", f"Restore point {point.name}, {exactly(point.made_at)}")
                for point in RestorePoint.objects.order_by("-made_at")[:_MOST_POINTS]
            ]
        self.choose("source", offered)
        if offered and not self.is_bound:
            self.initial.setdefault("source", offered[0][0])
        if what == EVERYTHING or not self.windows:
            del self.fields["at"]
        else:
            self._limit()

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be chosen."""
        return not self.fields["source"].choices  # type: ignore[attr-defined]

    def _backups(self, kinds: tuple[str, ...]) -> list[tuple[str, str]]:
        now = timezone.now()
        rows = Backup.objects.good().of_kind(*kinds).newest_first().defer("manifest")
        # The first is chosen by default, which a backup of another environment never should be.
        own = rows.of_environment(settings.ENVIRONMENT)[:_MOST_BACKUPS]
        others = rows.exclude(environment=settings.ENVIRONMENT)[:_MOST_OF_OTHERS]
        self.found = {f"backup:{row.name}": row for row in (*own, *others)}
        chosen = (self.data or self.initial).get("source", "")
        if chosen.startswith("backup:") and chosen not in self.found:
            # An old one, chosen on its own page.
            old = rows.filter(name=chosen.removeprefix("backup:")).first()
            self.found |= {} if old is None else {chosen: old}
        return [
            (
                key,
                f"{moment(row.taken_at, now)}, {row.get_kind_display().lower()}, "
                f"{row.get_state_display().lower()}, {size(row.size)}"
                + (f", of {row.environment}" if row.environment != settings.ENVIRONMENT else ""),
            )
            for key, row in self.found.items()
        ]

    def _limit(self) -> None:
        first, last = self.windows[0].start_time, self.windows[-1].end_time
        attributes = self.fields["at"].widget.attrs
        attributes["min"], attributes["max"] = _local(first), _local(last)
        zone = timezone.get_current_timezone_name()
        said = "; ".join(
            f"{exactly(each.start_time)} to {exactly(each.end_time)}" for each in self.windows[-3:]
        )
        self.fields["at"].help_text = f"In {zone}. Any moment of: {said}."
        if not self.is_bound:
            self.initial.setdefault("at", _local(last))

    def clean(self) -> dict[str, Any]:
        """A moment is needed where one is to be chosen, and WAL has to lead to it."""
        data = dict(self.cleaned_data)
        if data.get("source") != "moment":
            return data
        when = _parsed(data.get("at", ""))
        if when is None:
            self.add_error("at", "Say a day and a time: 2026-11-23 14:05:00.")
            return data
        if not any(each.start_time <= when <= each.end_time for each in self.windows):
            edges = [edge for each in self.windows for edge in (each.start_time, each.end_time)]
            nearest = min(edges, key=lambda edge: abs(edge - when))
            self.add_error(
                "at",
                f"No backup and no WAL lead to {exactly(when)}. The nearest moment that can be "
                f"restored is {exactly(nearest)}.",
            )
        return {**data, "when": when}

    def keep(self) -> None:
        """Keep it."""
        source: str = self.cleaned_data["source"]
        if source == "moment":
            self.answers.holds = self.cleaned_data["when"]
            self.answers.moment = self.cleaned_data["when"].isoformat()
        elif source.startswith("point:"):
            self.answers.moment = source.removeprefix("point:")
        else:
            self.answers.backup = self.found[source]
            self.answers.holds = self.answers.backup.taken_at


class NameForm(forms.Form):
    """The last step: the database's name, typed."""

    name = forms.CharField(
        max_length=63,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.fields["name"].label = f"Type {database_name()} to confirm"

    def clean_name(self) -> str:
        """The very name."""
        if (name := str(self.cleaned_data["name"]).strip()) != database_name():
            raise ValidationError("This is not the database's name. Nothing was begun.")
        return name


def database_name() -> str:
    """The live database's name."""
    return str(connection.settings_dict["NAME"])


def _parsed(text: str) -> dt.datetime | None:
    try:
        when = parse_datetime(text.strip())
    except ValueError:
        return None
    if when is None:
        return None
    return timezone.make_aware(when) if timezone.is_naive(when) else when


def _local(when: dt.datetime) -> str:
    return f"{timezone.localtime(when):%Y-%m-%dT%H:%M:%S}"
