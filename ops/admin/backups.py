"""Ops → Backups: is there a good one, since when, proven? And what to do about it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ops.admin.backup_buttons import BackupButtons
from ops.admin.backup_detail import detail
from ops.admin.backup_restoring import USES, RestoringButtons
from ops.admin.base import FewQueries
from ops.admin.chains import Chains
from ops.admin.downloads import send_manifest
from ops.admin.filters import DayRangeFilter
from ops.admin.links import EMPTY, change_url
from ops.admin.looks import display
from ops.admin.overview import overview
from ops.admin.run_state import has_died, state_of
from ops.admin.words import (
    ago,
    exactly,
    kind_title,
    length,
    moment,
    run_title,
    size,
    state_tag,
    two_lines,
)
from ops.backups.errors import StorageError
from ops.backups.vault import PRIMARY
from ops.models import Backup, Run
from ops.models.backups import GOOD, PHYSICAL


class BackupList(FewQueries):
    """The list, which knows the chains of the backups it shows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        if any(row.kind in PHYSICAL for row in rows):
            chains = Chains.load()
            for row in rows:
                row.chain = chains.of(row)
        self.result_list = rows


@admin.register(Backup)
class BackupAdmin(RestoringButtons, BackupButtons):
    """The catalogue of backups."""

    actions_detail = (
        *("restore_all", "recover_rows", "preview_files", "restore_files", "drill"),
        *BackupButtons.actions_detail,
    )

    change_list_template = "ops/backup_list.html"
    list_before_template = "ops/_overview.html"
    list_display = ("when", "what", "standing", "weight", "row_count", "took", "chain", "where")
    list_display_links = ("when",)
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("taken_at", DayRangeFilter),
    )
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("-taken_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        if request.resolver_match and str(request.resolver_match.url_name).endswith("changelist"):
            # A manifest may be megabytes, and no column needs it.
            rows = rows.defer("manifest")
        return rows.prefetch_related("copies")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FewQueries]:
        return BackupList

    # --- the list ----------------------------------------------------------------------------

    @display(description="Holds", ordering="taken_at")
    def when(self, backup: Backup) -> SafeString:
        """The moment it holds."""
        now = timezone.now()
        return two_lines(
            moment(backup.taken_at, now),
            ago(backup.taken_at, now),
            f"{backup.name}, {exactly(backup.taken_at)}",
        )

    @display(description="Kind", ordering="kind")
    def what(self, backup: Backup) -> str:
        """What it holds, and whose, where it is of another environment."""
        kind = str(backup.get_kind_display())
        if backup.environment in {"", settings.ENVIRONMENT}:
            return kind
        return f"{kind}, of {backup.environment}"

    @display(description="State", ordering="state")
    def standing(self, backup: Backup) -> SafeString:
        """How much is known about it."""
        shown = state_tag(backup.state, backup.state_note)
        if backup.pinned_at is None:
            return shown
        return format_html(
            '{} <span class="material-symbols-outlined ops-pin" role="img" title="{}" '
            'aria-label="Pinned">keep</span>',
            shown,
            f"Pinned: {backup.pin_reason}",
        )

    @display(description="Size", ordering="size")
    def weight(self, backup: Backup) -> str:
        """Bytes as stored."""
        return size(backup.size)

    @display(description="Rows", ordering="rows")
    def row_count(self, backup: Backup) -> str:
        """Rows in it."""
        return EMPTY if backup.rows is None else f"{backup.rows:,}"

    @display(description="Took", ordering="seconds")
    def took(self, backup: Backup) -> str:
        """How long it took."""
        return EMPTY if backup.seconds is None else length(backup.seconds)

    @display(description="Chain")
    def chain(self, backup: Any) -> str:
        """Its place among those that build on each other."""
        if backup.kind not in PHYSICAL:
            return EMPTY
        return backup.chain.words or "by itself"

    @display(description="Where")
    def where(self, backup: Backup) -> SafeString | str:
        """Which storages have it."""
        first = "Storage" if backup.storage == PRIMARY else backup.storage
        if any(copy.state in GOOD for copy in backup.copies.all()):
            return f"{first} + off-site"
        return first

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The answer, what is going on, the pictures, the rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        filtered = any(key != "e" for key in request.GET)
        running = Run.objects.unfinished().newest_first()[:10]
        live = [run for run in running if not has_died(run, now)]
        context = {
            **(extra_context or {}),
            "title": "Backups",
            "overview": overview(now, pictures=not filtered),
            "live": [(run, run_title(run), state_of(run, now)) for run in live],
            "may_take": request.user.has_perm("ops.take_backup"),
            "filtered": filtered,
        }
        response: HttpResponse = super().changelist_view(request, context)
        return response

    # --- one backup --------------------------------------------------------------------------

    def detail(self, request: HttpRequest, row: Backup, now: dt.datetime) -> HttpResponse:
        """Everything known about one backup."""
        kind = kind_title(str(row.get_kind_display()))
        response = self.page(
            request,
            "ops/backup.html",
            f"{kind}, {moment(row.taken_at, now)}",
            row,
            **detail(row, now),
        )
        # What one does with a backup stands on its page; the head is for what is done to it.
        context = response.context_data or {}
        offered = context["actions_detail"]
        context["uses"] = [each for each in offered if each["title"] in USES]
        context["actions_detail"] = [each for each in offered if each["title"] not in USES]
        return response

    def get_urls(self) -> list[URLPattern]:
        manifest = path(
            "<int:pk>/manifest/",
            self.admin_site.admin_view(require_GET(self.manifest_view)),
            name="ops_backup_manifest",
        )
        return [manifest, *super().get_urls()]

    def manifest_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The signed manifest, as a file."""
        backup = self.get_object(request, str(pk))
        if backup is None:
            raise Http404
        try:
            return send_manifest(backup)
        except StorageError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(change_url(backup))
