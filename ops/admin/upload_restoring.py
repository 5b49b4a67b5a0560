"""Buttons that bring uploaded files back from a media backup, and what a page shows of that."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from unfold.widgets import UnfoldBooleanWidget

from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ConfirmForm, button
from ops.admin.restore_wizard import RESTORE
from ops.admin.typed import GRAVE, TypedForm
from ops.models import Backup, BackupKind, Run, RunKind, RunStatus
from ops.models.backups import GOOD
from ops.restores.media.kept import kept_files
from ops.restores.media.restoring import ask_for_media_restore, ask_for_media_undo
from ops.restores.requests import MediaRequest

_SHOWN = 20
_TITLES = {
    "missing": "Missing here", "changed": "Different here", "extra": "Not in the backup",
    "written": "Written", "removed": "Removed", "left": "Changed by others and left",
}  # fmt: skip


class PreviewFilesForm(ConfirmForm):
    """Asks nothing, and says that nothing changes."""

    def explanation(self) -> str:
        """What the preview tells."""
        return (
            "The backup is read to its end and compared with the uploaded files of today: which "
            "are missing, which differ, which were uploaded since. Nothing is changed."
        )


class RestoreFilesForm(TypedForm):
    """Asks which files, and for the database's name."""

    only_missing = forms.BooleanField(
        label="Only missing files", required=False, widget=UnfoldBooleanWidget(),
        help_text="A file that is here stays as it is.",
    )  # fmt: skip
    exact = forms.BooleanField(
        label="Remove files that are not in the backup", required=False,
        widget=UnfoldBooleanWidget(),
        help_text="They were uploaded since, or under another name.",
    )  # fmt: skip
    field_order = ("only_missing", "exact", "name")

    def explanation(self) -> str:
        """What becomes of the files that are there."""
        days = settings.RESTORE_KEEP_DAYS
        return (
            "Files that are missing come back; files that differ are replaced. What is replaced or "
            f"removed is kept for {days} days, and Undo on the run's page puts it back. The "
            "database is not touched."
        )

    def clean(self) -> dict[str, Any]:
        """Refuse the two choices that contradict each other."""
        data = super().clean() or self.cleaned_data
        if data.get("only_missing") and data.get("exact"):
            raise forms.ValidationError("Choose one of the two: they contradict each other.")
        return data


def _has_files(backup: Backup) -> bool:
    return backup.kind == BackupKind.MEDIA and backup.state in GOOD


class UploadButtons(OpsModelAdmin):
    """On a media backup: what would come back, and bring it back."""

    @button(
        title="Preview files",
        icon="preview",
        question="Compare this backup with the uploaded files?",
        form=PreviewFilesForm,
        shown=_has_files,
        permission=RESTORE,
    )
    def preview_files(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Look what a restore would change."""
        return _ask(request, row, MediaRequest(backup=row.name, dry_run=True))

    @button(
        title="Restore files…",
        icon="settings_backup_restore",
        question="Restore the uploaded files from this backup?",
        submit="Restore files",
        form=RestoreFilesForm,
        shown=_has_files,
        permission=RESTORE,
        variant=GRAVE,
    )
    def restore_files(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Bring them back."""
        wanted = MediaRequest(
            backup=row.name, only_missing=data["only_missing"], exact=data["exact"]
        )
        return _ask(request, row, wanted)


def _is_undoable(run: Run) -> bool:
    return (
        run.kind == RunKind.RESTORE
        and bool(run.arguments.get("media"))
        and run.has_ended
        and any(each.run == run.pk and each.files for each in kept_files())
    )


class UndoUploadsForm(TypedForm):
    """Says what comes back."""

    def explanation(self) -> str:
        """Nothing of today's users is lost by it."""
        return (
            "Files that this restore replaced or removed are as they were before. Files that "
            "somebody has changed since are left as they are, and named."
        )


class UndoUploadsButton(OpsModelAdmin):
    """On the run of a restore of uploaded files: the way back."""

    @button(
        title="Undo",
        icon="undo",
        question="Put the former uploaded files back?",
        form=UndoUploadsForm,
        shown=_is_undoable,
        permission=RESTORE,
        variant=GRAVE,
    )
    def undo_uploads(
        self, request: HttpRequest, row: Run, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Put back what it replaced."""
        return ask_once(
            request,
            RunKind.UNDO,
            {"uploads": row.pk},
            lambda: ask_for_media_undo(row.pk, by=asker(request)),
        )


def uploads_context(run: Run) -> dict[str, Any]:
    """Return what a run's page shows of a restore of uploaded files; nothing for another run."""
    found = run.result.get("uploads") if run.status == RunStatus.DONE and run.result else None
    if not found:
        return {}
    wanted = ("written", "removed", "left") if found["applied"] else ("missing", "changed", "extra")
    groups = [(_TITLES[name], found[name]["count"], found[name]["names"]) for name in wanted]
    return {
        "uploads": [
            {"title": title, "count": count, "names": names[:_SHOWN], "more": count - _SHOWN}
            for title, count, names in groups
            if count
        ],
        "uploads_title": "What was done" if found["applied"] else "What a restore would change",
        "uploads_same": found["same"],
    }


def _ask(request: HttpRequest, row: Backup, wanted: MediaRequest) -> HttpResponseBase:
    return ask_once(
        request,
        RunKind.RESTORE,
        {"media": True, "dry_run": wanted.dry_run},
        lambda: ask_for_media_restore(wanted, by=asker(request)),
        backup=row,
    )


def newest_media_backup() -> Backup | None:
    """Return the backup that lost uploads would come back from."""
    own = Backup.objects.of_environment(settings.ENVIRONMENT).good().of_kind(BackupKind.MEDIA)
    return own.defer("manifest").newest_first().first()
