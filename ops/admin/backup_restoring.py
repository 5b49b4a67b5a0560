"""Buttons of a backup that bring it back, or rehearse that."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.utils import timezone

from ops.admin.buttons import ConfirmForm, button
from ops.admin.drills import RIGHT as DRILL
from ops.admin.drills import begin_drill
from ops.admin.restore_answers import EVERYTHING, MOMENT
from ops.admin.restore_forms import PARTS, WHOLE
from ops.admin.restore_wizard import RECOVER, RESTORE, wizard_url
from ops.admin.upload_restoring import UploadButtons
from ops.models import Backup, BackupKind
from ops.models.backups import GOOD
from ops.restores.requests import DrillRequest

# Titles of the buttons that use a backup and leave it as it is.
USES = ("Restore…", "Recover…", "Preview files", "Restore files…", "Drill")
_NOT_DRILLED = (BackupKind.MEDIA, BackupKind.FOREIGN)  # of files, Prove does the same


def _is_good(backup: Backup) -> bool:
    return backup.state in GOOD


def _brings_all(backup: Backup) -> bool:
    return _is_good(backup) and (backup.kind in WHOLE or backup.is_physical)


def _brings_rows(backup: Backup) -> bool:
    return _is_good(backup) and (backup.kind in PARTS or backup.is_physical)


def _is_drilled(backup: Backup) -> bool:
    return _is_good(backup) and backup.kind not in _NOT_DRILLED


class _DrillForm(ConfirmForm):
    """Says where it happens."""

    def explanation(self) -> str:
        """Not here."""
        return (
            "It is restored on a private server that is thrown away afterwards, and asked ever "
            "harder questions. The live database is not touched."
        )


class RestoringButtons(UploadButtons):
    """Restore, recover, rehearse: from this very backup."""

    @button(
        title="Restore…",
        icon="settings_backup_restore",
        shown=_brings_all,
        permission=RESTORE,
    )
    def restore_all(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Open the wizard with this backup chosen."""
        what = MOMENT if row.is_physical else EVERYTHING
        return HttpResponseRedirect(wizard_url("from", {"what": what, **_source(row)}))

    @button(title="Recover…", icon="restore_page", shown=_brings_rows, permission=RECOVER)
    def recover_rows(
        self, request: HttpRequest, row: Backup, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Open the wizard with this backup chosen, to ask which rows."""
        return HttpResponseRedirect(wizard_url("what", _source(row)))

    @button(
        title="Drill",
        icon="fire_extinguisher",
        question="Rehearse restoring this backup?",
        form=_DrillForm,
        shown=_is_drilled,
        permission=DRILL,
    )
    def drill(self, request: HttpRequest, row: Backup, data: dict[str, Any]) -> HttpResponseBase:
        """Rehearse it."""
        return begin_drill(request, DrillRequest(backup=row.name))


def _source(backup: Backup) -> dict[str, str]:
    """The wizard's answer that names a backup, or the first moment that a physical one holds."""
    if not backup.is_physical:
        return {"source": f"backup:{backup.name}"}
    whole = (backup.manifest.get("details") or {}).get("whole_at")
    when = dt.datetime.fromisoformat(whole) if whole else backup.finished_at or backup.taken_at
    # The field knows whole seconds, and the one before is too early.
    local = timezone.localtime(when) + dt.timedelta(seconds=1)
    return {"source": "moment", "at": f"{local:%Y-%m-%dT%H:%M:%S}"}
