"""The wizard's third step: with which choices."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.db import connection
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ops.admin.restore_answers import MODES
from ops.admin.restore_forms import StepForm
from ops.models import Backup


class RestoreOptionsForm(StepForm):
    """Step 3 of a complete restore."""

    skip_safety = forms.BooleanField(
        label="Don't back up what is replaced",
        required=False,
        help_text="The replaced database is kept beside for a while either way.",
        widget=UnfoldBooleanWidget(),
    )
    despite_invariants = forms.BooleanField(
        label="Also if the restored data contradicts an invariant",
        required=False,
        help_text="Such as an invoice whose total is not what its lines add up to.",
        widget=UnfoldBooleanWidget(),
    )
    other_environment = forms.BooleanField(required=False, widget=UnfoldBooleanWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        backup = self.answers.backup
        if backup is None or backup.environment == settings.ENVIRONMENT:
            del self.fields["other_environment"]
            return
        asked = self.fields["other_environment"]
        asked.required = True
        asked.label = f"Bring {backup.environment}'s data into {settings.ENVIRONMENT}"
        asked.error_messages["required"] = (
            f"This backup is of {backup.environment}. Say that you mean it, or choose another."
        )

    def keep(self) -> None:
        """Keep them."""
        self.answers.options = dict(self.cleaned_data)


class RecoverOptionsForm(StepForm):
    """Step 3 of a partial recovery: which rows, and what may happen to those of today."""

    keys = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget())
    tables = forms.MultipleChoiceField(
        label="Which tables?", widget=UnfoldAdminCheckboxSelectMultipleWidget()
    )
    mode = forms.ChoiceField(
        label="What should happen?",
        choices=list(MODES.items()),
        initial="missing",
        widget=UnfoldAdminRadioSelectWidget(),
    )
    columns = forms.CharField(
        label="Only these columns",
        required=False,
        max_length=500,
        help_text="Names, with commas between. For rows that are still there. Empty: all of them.",
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
    )
    where = forms.CharField(
        label="Only rows where",
        required=False,
        max_length=500,
        help_text="An SQL condition on the one table chosen: status = 'paid'. Empty: every row.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false"}),
    )
    alone = forms.BooleanField(
        label="Leave out what belongs to them",
        required=False,
        help_text="Otherwise an invoice brings its lines, a customer their jobs and invoices.",
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if subject := self.answers.subject:
            del self.fields["tables"], self.fields["where"], self.fields["columns"]
            self.fields["keys"].label = f"Which {subject.title.lower()}?"
            self.fields["keys"].help_text = f"{subject.asks_for[:1].upper()}{subject.asks_for[1:]}."
        else:
            del self.fields["keys"]
            self.choose("tables", [(name, name) for name in self._tables()])

    def _tables(self) -> list[str]:
        """The tables that were there then; at a moment without a manifest, those of today."""
        if self.answers.backup is None:
            with connection.cursor() as cursor:
                return sorted(connection.introspection.table_names(cursor))
        document = Backup.objects.values_list("manifest", flat=True).get(pk=self.answers.backup.pk)
        proof = (document.get("proof") or {}).get("tables") or []
        return sorted(
            each["name"] if each["schema"] == "public" else f"{each['schema']}.{each['name']}"
            for each in proof
        )

    def clean_keys(self) -> list[str]:
        """One text is one key: a customer's name may have a comma in it."""
        return [self.cleaned_data["keys"].strip()]

    def clean_columns(self) -> list[str]:
        """Names, one by one."""
        names = (name.strip() for name in self.cleaned_data["columns"].split(","))
        return [name for name in names if name]

    def clean(self) -> dict[str, Any]:
        """A condition speaks of one table, columns of rows that are there."""
        data = dict(self.cleaned_data)
        if data.get("where") and len(data.get("tables", [])) != 1:
            self.add_error("where", "A condition goes with one table. Choose one only.")
        if data.get("columns"):
            if data.get("mode") != "changed":
                self.add_error("columns", "Single columns go with “Set back what was changed”.")
            if self.answers.subject is None and len(data.get("tables", [])) != 1:
                self.add_error("columns", "Single columns go with one table. Choose one only.")
        if data.get("where") and data.get("mode") == "exact":
            self.add_error("where", "Exactly as it was goes with whole tables.")
        return data

    def keep(self) -> None:
        """Keep them."""
        self.answers.options = dict(self.cleaned_data)
