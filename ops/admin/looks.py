"""Unfold's classes, with the types of the Django classes they extend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from django.contrib import admin
    from django.contrib.admin.views.main import ChangeList as _ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest

    class ModelAdmin(admin.ModelAdmin[Any]):
        # Looser than Django's own: Unfold takes nested actions, tuples of classes, callables.
        actions: Any
        list_display: Any
        actions_detail: ClassVar[Any]
        autocomplete_fields: ClassVar[Any]
        list_filter: ClassVar[Any]
        list_select_related: ClassVar[Any]
        readonly_fields: ClassVar[Any]
        list_filter_submit: bool
        list_fullwidth: bool
        warn_unsaved_form: bool

        def get_actions(self, request: HttpRequest, *args: Any) -> Any: ...
        def get_list_display(self, request: HttpRequest) -> Any: ...
        def get_list_filter(self, request: HttpRequest) -> Any: ...
        def get_list_select_related(self, request: HttpRequest) -> Any: ...
        def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any: ...
        def get_sortable_by(self, request: HttpRequest) -> Any: ...
        def response_action(
            self, request: HttpRequest, queryset: QuerySet[Any], *args: Any
        ) -> Any: ...

        def get_actions_list(self, request: HttpRequest) -> list[Any]: ...
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
