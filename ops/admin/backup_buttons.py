"""Buttons of backups. Each asks, records a run in the asker's name, and hands it to the worker."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase
from unfold.enums import ActionVariant

from ops.admin.asking import ask_once
from ops.admin.backup_forms import DeleteForm, DownloadForm, ProveForm, TakeForm
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ReasonForm, button
from ops.admin.downloads import send_object
from ops.admin.words import size
from ops.backups import keys
from ops.backups.copies import ask_for_copy
from ops.backups.take import Request, ask_for_backup
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification
from ops.models import Backup, BackupKind, RunKind
from ops.models.backups import GOOD
from ops.runs import ask, record

_NOT_OURS = (BackupKind.FOREIGN,)


def _is_ours(backup: Backup) -> bool:
    return backup.kind not in _NOT_OURS


def _is_provable(backup: Backup) -> bool:
    if backup.kind == BackupKind.MEDIA:
        # One that django-dbbackup alone made says nothing about what is in it.
        return "digest" in (backup.manifest.get("details") or {})
    return backup.is_logical or backup.is_physical


def _lacks_copy(backup: Backup) -> bool:
    if Vault.second() is None or not _is_ours(backup):
        return False
    return not any(copy.state in GOOD for copy in backup.copies.all())


def _is_readable(backup: Backup) -> bool:
    return bool(backup.manifest.get("objects"))


class BackupButtons(OpsModelAdmin):
    """Back up now, on the list; the others on a backup's page."""

    actions_list = ("take",)
    actions_detail: ClassVar[Any] = (
        "verify",
        "prove",
        "pin",
        "unpin",
        "copy_off_site",
        "download",
        "delete_it",
    )

    @button(
        title="Back up now",
        icon="backup",
        question="Take a backup now?",
        submit="Back up now",
        form=TakeForm,
        permission="ops.take_backup",
        variant=ActionVariant.PRIMARY,
    )
    def take(self, request: HttpRequest, row: None, data: dict[str, Any]) -> HttpResponseBase:
        """Take a backup."""
        keys.encryption()
        keys.signing_keys()
        wanted = Request(kind=data["kind"], label=data["label"], tables=data["tables"])
        return ask_once(
            request,
            RunKind.BACKUP,
            {"kind": data["kind"]},
            lambda: ask_for_backup(wanted, by=asker(request)),
        )

    @button(
        title="Verify",
        icon="task_alt",
        question="Verify this backup?",
        shown=_is_ours,
        permission="ops.verify_backup",
    )
    def verify(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Read it to its last byte."""
        return self._verification(request, row, deep=False)

    @button(
        title="Prove",
        icon="verified",
        question="Prove this backup?",
        form=ProveForm,
        shown=_is_provable,
        permission="ops.verify_backup",
    )
    def prove(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Restore it beside the live database and compare; of files, read each."""
        return self._verification(request, row, deep=True)

    @button(
        title="Pin",
        icon="keep",
        question="Keep this backup until it is unpinned?",
        submit="Pin",
        form=ReasonForm,
        shown=lambda backup: _is_ours(backup) and backup.pinned_at is None,
        permission="ops.pin_backup",
    )
    def pin(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Keep it from retention."""
        return _asked(request, RunKind.PIN, row, reason=data["reason"])

    @button(
        title="Unpin",
        icon="keep_off",
        question="Let retention delete this backup when its time comes?",
        submit="Unpin",
        shown=lambda backup: backup.pinned_at is not None,
        permission="ops.pin_backup",
    )
    def unpin(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Give it back to retention."""
        return _asked(request, RunKind.PIN, row, reason="")

    @button(
        title="Copy off-site",
        icon="cloud_upload",
        question="Copy this backup to the second storage now?",
        submit="Copy",
        shown=_lacks_copy,
        permission="ops.take_backup",
    )
    def copy_off_site(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Bring it to the second storage."""
        return ask_once(
            request, RunKind.COPY, {}, lambda: ask_for_copy(row, by=asker(request)), backup=row
        )

    @button(
        title="Download",
        icon="download",
        question="Download this backup?",
        form=DownloadForm,
        shown=_is_readable,
        permission="ops.download_backup",
        downloads=True,
    )
    def download(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Send an object as stored."""
        vault = Vault.of(row.storage)
        response = send_object(vault, data["name"])
        record(
            RunKind.DOWNLOAD,
            row.name,
            by=asker(request),
            backup=row,
            message=f"{data['name']} ({size(int(response['Content-Length']))}) was sent.",
        )
        return response

    @button(
        title="Delete",
        icon="delete",
        question="Delete this backup?",
        form=DeleteForm,
        permission="ops.delete_backup",
        variant=ActionVariant.DANGER,
    )
    def delete_it(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Remove it from the storage."""
        return _asked(request, RunKind.DELETE, row)

    def _verification(self, request: HttpRequest, row: Backup, *, deep: bool) -> HttpResponseBase:
        return ask_once(
            request,
            RunKind.PROVE if deep else RunKind.VERIFY,
            {},
            lambda: ask_for_verification(row, deep=deep, by=asker(request)),
            backup=row,
        )


def _asked(request: HttpRequest, kind: RunKind, row: Backup, **arguments: Any) -> HttpResponseBase:
    return ask_once(
        request,
        kind,
        {},
        lambda: ask(kind, row.name, by=asker(request), arguments=arguments, backup=row),
        backup=row,
    )
