"""Unfold's classes, with the types of the Django classes they extend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.contrib import admin
    from django.contrib.admin.views.main import ChangeList as _ChangeList
    from django.http import HttpRequest

    class ModelAdmin(admin.ModelAdmin[Any]):
        actions_detail: Sequence[Any]
        list_filter_submit: bool
        list_fullwidth: bool
        warn_unsaved_form: bool

        def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[Any]: ...
        def get_custom_urls(self) -> tuple[Any, ...]: ...

    class TabularInline(admin.TabularInline[Any, Any]):
        pass

    class ChangeList(_ChangeList):
        pass

    def display(
        function: Callable[..., Any] | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...

else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.decorators import display
    from unfold.views import ChangeList

__all__ = ["ChangeList", "ModelAdmin", "TabularInline", "display"]
