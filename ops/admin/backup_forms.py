"""What the buttons of backups ask."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from ops.admin.buttons import ConfirmForm
from ops.admin.words import size
from ops.backups import keys
from ops.backups.errors import BackupError
from ops.backups.retention import why_it_stays
from ops.backups.selection import regexes
from ops.models import BackupKind

_LOGICAL = {
    BackupKind.FULL: "Full: everything in the database",
    BackupKind.SCHEMA: "Schema only: tables without their rows",
    BackupKind.DATA: "Data only: rows without their tables",
    BackupKind.TABLES: "Tables: some of them, with their rows",
}
_PHYSICAL = {
    BackupKind.INCREMENTAL: "Incremental: what changed since the last base backup",
    BackupKind.BASE: "Base: the server's files, from which WAL goes on to any moment",
}
_MEDIA = {BackupKind.MEDIA: "Media: uploaded files"}


def kinds() -> dict[BackupKind, str]:
    """The kinds that can be taken here; physical ones need a login that may replicate."""
    physical = _PHYSICAL if settings.REPLICATION_URL else {}
    return {**_LOGICAL, **physical, **_MEDIA}


class TakeForm(ConfirmForm):
    """Asks which kind, of which tables, and what to call it."""

    kind = forms.ChoiceField(label="Kind", widget=UnfoldAdminSelectWidget())
    # Shown for the one kind that takes them: ops.css.
    tables = forms.CharField(
        label="Which tables",
        required=False,
        max_length=2_000,
        help_text='One a line. * stands for any letters: customers, invoice*, public."Odd name".',
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
    )
    label = forms.RegexField(
        r"^[A-Za-z0-9_]*$",
        label="Name",
        required=False,
        max_length=60,
        help_text="Becomes part of the backup's name: letters, digits and _. May stay empty.",
        error_messages={"invalid": "Only letters, digits and _ can be part of a backup's name."},
        widget=UnfoldAdminTextInputWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            (str(kind), words) for kind, words in kinds().items()
        ]

    def clean(self) -> dict[str, Any]:
        """Tables are of account for the kind that takes some, and it needs one at least."""
        lines = [line.strip() for line in self.cleaned_data.get("tables", "").splitlines()]
        patterns = tuple(line for line in lines if line)
        if self.cleaned_data.get("kind") != BackupKind.TABLES:
            return {**self.cleaned_data, "tables": ()}
        if not patterns and "tables" not in self.errors:
            self.add_error("tables", "Name one table at least.")
        for pattern in patterns:
            try:
                regexes(pattern)
            except BackupError as error:
                self.add_error("tables", str(error))
        return {**self.cleaned_data, "tables": patterns}

    def explanation(self) -> str:
        """Whom it is encrypted to."""
        try:
            encryption = keys.encryption()
        except BackupError as error:
            return str(error)
        if encryption.kind == "none":
            return "It is not encrypted: no key is set (BACKUP_AGE_RECIPIENTS)."
        number = len(encryption.recipients)
        return f"It is encrypted ({encryption.kind}) to {number} key{'' if number == 1 else 's'}."


class ProveForm(ConfirmForm):
    """Asks nothing, and says what a proof is of such a backup."""

    def explanation(self) -> str:
        """What is done, and what it takes."""
        if self.row.kind == BackupKind.MEDIA:
            return (
                "Every file of it is restored into a folder of its own, read again there and "
                "compared with its manifest. That takes as much room on this machine's disk."
            )
        return (
            "It is restored on a server of its own beside the live database, which is not touched, "
            "and everything is compared with its manifest. That takes as long as a restore, and "
            "as much room on this machine's disk."
        )


class DownloadForm(ConfirmForm):
    """Asks for which object, when there is more than one."""

    name = forms.ChoiceField(label="Object", widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        objects = self.row.manifest.get("objects", [])
        self.fields["name"].choices = [  # type: ignore[attr-defined]
            (each["name"], f"{each['name'].rsplit('/', 1)[-1]} ({size(each['size'])})")
            for each in objects
        ]
        if len(objects) == 1:
            self.fields["name"].initial = objects[0]["name"]
            self.fields["name"].widget = forms.HiddenInput()

    def explanation(self) -> str:
        """What comes, and that it is known who has it."""
        objects = self.row.manifest.get("objects", [])
        sealed = {each["encryption"] for each in objects[:1]} - {"none"}
        how = (
            f"as stored, encrypted ({sealed.pop()}): opening it takes the secret key"
            if sealed
            else "as stored, not encrypted: whoever has the file has every customer's data"
        )
        total = size(objects[0]["size"]) if len(objects) == 1 else ""
        first = f"{total} come" if total else "It comes"
        return f"{first} {how}. The download is recorded with your name."


class DeleteForm(ConfirmForm):
    """Asks for the backup's name, typed."""

    name = forms.CharField(
        label="Name of the backup",
        max_length=250,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def explanation(self) -> str:
        """What has to be typed."""
        return (
            f"Its objects and its manifest are removed from the storage, copies as well. "
            f"This can't be undone. Type {self.row.name} to delete it."
        )

    def clean(self) -> dict[str, Any]:
        """What must stay is told here; the worker asks again before it deletes."""
        if why := why_it_stays(self.row):
            raise ValidationError(f"It can't be deleted: {why}.")
        return super().clean() or self.cleaned_data

    def clean_name(self) -> str:
        """The very name."""
        name = str(self.cleaned_data["name"]).strip()
        if name != self.row.name:
            raise ValidationError("This is not the backup's name. Nothing was deleted.")
        return name
