"""Groups and their permissions, for the platform's superusers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from crm.admin.base import is_platform_administrator
from ops.admin.looks import ModelAdmin

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Who may do what. Platform administrators read it; superusers change it."""

    search_fields = ("name",)
    list_fullwidth = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_platform_administrator(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_administrator(request)
