"""Ops → Restore: one account becomes an archive, and an archive an account.

Both are asked for here and carried out by the worker; their pages are those of their runs
(ops/admin/account_runs.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ops.admin import arrivals
from ops.admin.account_forms import ExportForm, UploadForm
from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import button
from ops.background import may
from ops.errors import OpsError
from ops.models import RunKind
from ops.restores.accounts import kept
from ops.restores.accounts.exporting import ask_for_export
from ops.restores.accounts.importing import ask_for_import

EXPORT, IMPORT = "ops.export_account", "ops.import_account"


class AccountViews(OpsModelAdmin):
    """The buttons on the list of restores, and the page that takes an archive."""

    def get_urls(self) -> list[URLPattern]:
        view = require_http_methods(["GET", "POST"])(self.upload_view)
        upload = path(
            "accounts/import/", self.admin_site.admin_view(view), name="ops_account_upload"
        )
        return [upload, *super().get_urls()]

    @button(
        title="Export account…",
        icon="archive",
        question="Export an account?",
        submit="Export",
        form=ExportForm,
        permission=EXPORT,
    )
    def export_account(
        self, request: HttpRequest, row: None, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Let the worker write an archive."""
        file = kept.new_export(encrypted=bool(data.get("encrypted")))
        # Where it is written is each run's own; pressed twice, it is the same wish.
        return ask_once(
            request,
            RunKind.EXPORT,
            {"account": data["account"], "passwords": data["passwords"]},
            lambda: ask_for_export(
                data["account"], file, by=asker(request), passwords=data["passwords"]
            ),
        )

    @button(title="Import account…", icon="unarchive", permission=IMPORT)
    def import_account(
        self, request: HttpRequest, row: None, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Go to where an archive is taken."""
        return HttpResponseRedirect(reverse("admin:ops_account_upload"))

    def upload_view(self, request: HttpRequest) -> HttpResponseBase:
        """Take an archive, and let the worker look what it would become."""
        if not self.has_view_permission(request) or not may(request.user, RunKind.IMPORT):
            raise PermissionDenied
        is_sent = request.method == "POST"
        form = UploadForm(request.POST, request.FILES) if is_sent else UploadForm()
        if is_sent and (refusal := arrivals.refusal_of(request)):
            form.errors["archive"] = form.error_class([refusal])
        elif is_sent and form.is_valid():
            try:
                return self._looked_at(request, form.cleaned_data)
            except OpsError as error:
                form.add_error("archive", str(error))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import account",
            "form": form,
            "back": reverse("admin:ops_restore_changelist"),
            "has_view_permission": True,
            "hours": settings.ACCOUNT_ARCHIVE_HOURS,
        }
        response = TemplateResponse(request, "ops/account_upload.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # What comes minutes long is received before the request's transaction begins.
    upload_view.receive = arrivals.receive  # type: ignore[attr-defined]

    def _looked_at(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponseBase:
        kept.tidy(timezone.now())
        file = kept.keep_upload(Path(data["archive"].file.name))
        arguments = {"path": str(file), "as_login": data["as_login"], "dry_run": True}
        return ask_once(
            request,
            RunKind.IMPORT,
            arguments,
            lambda: ask_for_import(
                file,
                by=asker(request),
                as_login=data["as_login"],
                dry_run=True,
                name=data["archive"].name,
            ),
        )
