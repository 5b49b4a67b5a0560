"""Dialogs that want the database's name typed, before anything live is changed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from ops.admin.buttons import ConfirmForm
from ops.admin.recovery_words import planned_rows
from ops.admin.restore_forms import NameForm, database_name
from ops.admin.words import exactly
from ops.models import Recovery, Restore

# Red where it counts.
GRAVE = ActionVariant.DANGER if settings.PRODUCTION_LIKE else ActionVariant.PRIMARY


class TypedForm(ConfirmForm):
    """Asks for the database's name."""

    name = forms.CharField(
        max_length=63,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = f"Type {database_name()} to confirm"

    clean_name = NameForm.clean_name


class UndoRestoreForm(TypedForm):
    """Says what comes back, and what becomes of what is there now."""

    def explanation(self) -> str:
        """Nothing is lost by it."""
        restore: Restore = self.row
        since = "" if restore.swapped_at is None else f" on {exactly(restore.swapped_at)}"
        return (
            f"The database that this restore replaced{since} takes its place again. What was "
            "written since then is not in it; it is kept beside, under a name of its own."
        )


class RecoverForm(TypedForm):
    """Says how many rows are changed."""

    def explanation(self) -> str:
        """As the preview counted them."""
        recovery: Recovery = self.row
        number = planned_rows(recovery)
        rows = "1 row" if number == 1 else f"{number:,} rows"
        change = "changes" if number == 1 else "change"
        return (
            f"{rows} {change}, from {recovery.origin}, in one transaction: all of it or nothing. "
            "Rows that somebody changed since the preview are looked at again. It can be undone."
        )
