"""What the pages of operations have in common: read-only, for platform administrators and
auditors.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from ops.admin.buttons import ButtonsMixin
from ops.admin.looks import ChangeList
from ops.runs import Asker


class FewQueries(ChangeList):
    """A list that counts its rows once: without filters, all of them are what is shown."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


def may_look(request: HttpRequest) -> bool:
    """Whether whoever asks administers or audits the platform.

    Nobody else's role may read these tables.
    """
    user: Any = request.user
    return bool(
        getattr(user, "is_platform_administrator", False) or getattr(user, "is_auditor", False)
    )


def asker(request: HttpRequest) -> Asker:
    """Whoever pressed the button."""
    user: Any = request.user
    return Asker(user.email, "admin", user.pk)


class _Titled:
    """A row under the name that the page's head and trail show."""

    def __init__(self, row: models.Model, title: str) -> None:
        self._meta, self.pk, self._title = row._meta, row.pk, title

    def __str__(self) -> str:
        return self._title


class OpsModelAdmin(ButtonsMixin):
    """Rows that only operations change: no forms, only buttons that ask for a run."""

    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    list_filter_submit = True
    list_fullwidth = True
    actions = None

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        # Before anything is asked of tables that others' roles may not read.
        if not self.has_view_permission(request):
            raise PermissionDenied
        # Buttons ask for the row again and again, and a manifest may be megabytes.
        kept: dict[str, Any] = request.__dict__.setdefault("_srvc_rows", {})
        key = f"{self.opts.label}:{object_id}"
        if key not in kept:
            kept[key] = super().get_object(request, object_id, from_field)
        return kept[key]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DjangoChangeList]:
        return FewQueries

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_look(request) and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_look(request) and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_press(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> bool:
        """Whoever may see the row, and has the button's permission."""
        # An auditor looks, whatever permission somebody gave them by mistake.
        user: Any = request.user
        changes = bool(pressed.question) and getattr(user, "is_auditor", False)
        return (
            not changes
            and self.has_view_permission(request, row)
            and super().may_press(request, pressed, row)
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A row's own page; of a row that is gone, what the admin says of any such."""
        row = self.get_object(request, object_id)
        if row is None:
            gone: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
            return gone
        response = self.detail(request, row, timezone.now())
        response["Cache-Control"] = "no-store"  # what it tells changes while it is looked at
        return response

    def detail(self, request: HttpRequest, row: Any, now: dt.datetime) -> HttpResponse:
        """Show one row, by `page`. Whoever has rows to show says how."""
        raise NotImplementedError

    def page(
        self, request: HttpRequest, template: str, title: str, row: models.Model, **context: Any
    ) -> TemplateResponse:
        """Show a row's own page, with its buttons on top."""
        buttons = self._get_actions_navigation(  # type: ignore[attr-defined]
            self.actions_detail, self.get_actions_detail(request, row.pk), row.pk
        )
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "original": _Titled(row, title),
                "object": row,
                "actions_detail": buttons,
                "has_view_permission": True,
                **context,
            },
        )
