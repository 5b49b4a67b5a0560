"""The last numbers given out, for platform administrators to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from crm.admin.base import AccountModelAdmin
from crm.models import DocumentCounter


@admin.register(DocumentCounter)
class DocumentCounterAdmin(AccountModelAdmin):
    """Gapless series; nobody edits them."""

    list_display: Any = ("series", "last_number")
    ordering = ("-id",)
    search_fields = ("series",)
    fields = ("series", "last_number")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
