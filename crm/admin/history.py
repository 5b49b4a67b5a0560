"""The History page: what the database recorded of a row, whichever door a change came through."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import formats, timezone
from django.utils.text import capfirst

from crm.models import User
from ops.admin.looks import ModelAdmin
from ops.postgres import roles

PER_PAGE = 25
_ACTIONS = {"insert": "Added", "update": "Changed", "delete": "Deleted"}
_LEFT_OUT = {"id", "created_at", "updated_at", "account", "user", "pgh_obj"}
_ROLES = {roles.OWNER: "Operator", roles.ADMIN: "Platform administrator"}


@dataclass
class Change:
    """One field: what it was and what it became."""

    name: str
    old: str
    new: str


@dataclass
class Entry:
    """One recorded change of a row."""

    when: dt.datetime
    action: str
    who: str
    via: str
    changes: list[Change] = field(default_factory=list)


def tracked_fields(event: type[models.Model]) -> list[models.Field[Any, Any]]:
    """Fields of a history table that hold what people entered."""
    return [
        tracked
        for tracked in event._meta.concrete_fields
        if not tracked.name.startswith(("pgh_", "changed_")) and tracked.name not in _LEFT_OUT
    ]


class HistoryMixin(ModelAdmin):
    """Shows the recorded history of rows whose model is tracked; else Django's own log."""

    def has_history_permission(self, request: HttpRequest) -> bool:
        """Whether the user may read what rows of the model were before."""
        event = _event_model(self.model)
        if event is None:
            return True
        codename = f"{event._meta.app_label}.view_{event._meta.model_name}"
        return bool(request.user.has_perm(codename))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {"show_history": self.has_history_permission(request), **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        event = _event_model(self.model)
        if event is None:
            return super().history_view(request, object_id, extra_context)
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
        if not (
            self.has_view_or_change_permission(request, row)
            and self.has_history_permission(request)
        ):
            raise PermissionDenied
        events = _events_of(event, row)
        page = Paginator(events, PER_PAGE).get_page(request.GET.get("p"))
        start = (page.number - 1) * PER_PAGE
        # One more than shown: the last one's changes are told against the one before it.
        entries = entries_of(event, list(events[start : start + PER_PAGE + 1]), PER_PAGE)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {row}",
            "subtitle": None,
            "entries": entries,
            "page": page,
            "module_name": str(capfirst(self.opts.verbose_name_plural)),
            "object": row,
            "opts": self.opts,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "crm/admin/history.html", context)


def entries_of(event: type[models.Model], events: list[Any], limit: int) -> list[Entry]:
    """What happened, newest first; `events` are newest first and may hold one more than shown."""
    fields = tracked_fields(event)
    people = User.objects.in_bulk({e.changed_by_id for e in events if e.changed_by_id})
    names = _names(fields, events)
    entries = []
    for index, newer in enumerate(events[:limit]):
        older = events[index + 1] if index + 1 < len(events) else None
        entry = Entry(
            when=newer.pgh_created_at,
            action=_ACTIONS.get(newer.pgh_label, capfirst(newer.pgh_label)),
            who=_who(newer, people),
            via=newer.changed_via,
        )
        if newer.pgh_label == "insert":
            older = None
        entry.changes = [
            change for tracked in fields if (change := _change(tracked, older, newer, names))
        ]
        entries.append(entry)
    return entries


def _event_model(model: type[models.Model]) -> type[models.Model] | None:
    for relation in model._meta.related_objects:
        if relation.get_accessor_name() == "history":
            return relation.related_model
    return None


def _events_of(event: type[models.Model], row: Any) -> models.QuerySet[Any]:
    # The account is compared too: the index begins with it.
    owner = {"account_id": row.account_id} if hasattr(row, "account_id") else {"user_id": row.pk}
    rows = event._default_manager.filter(pgh_obj_id=row.pk, **owner)
    return rows.order_by("-pgh_id")


def _change(
    tracked: models.Field[Any, Any], older: Any, newer: Any, names: dict[Any, dict[Any, str]]
) -> Change | None:
    new = getattr(newer, tracked.attname)
    if older is None:
        if new in (None, "", False) or new == tracked.get_default():
            return None
        return Change(str(capfirst(tracked.verbose_name)), "", _text(tracked, new, newer, names))
    old = getattr(older, tracked.attname)
    if old == new:
        return None
    return Change(
        str(capfirst(tracked.verbose_name)),
        _text(tracked, old, older, names),
        _text(tracked, new, newer, names),
    )


def _text(
    tracked: models.Field[Any, Any], value: Any, event: Any, names: dict[Any, dict[Any, str]]
) -> str:
    if value is None or value == "":
        return "-"
    if tracked.is_relation:
        return names[tracked.related_model].get(value, f"#{value}")
    if tracked.choices:
        return str(dict(tracked.flatchoices).get(value, value))
    match value:
        case bool():
            return "Yes" if value else "No"
        case Decimal():
            return f"{value:f}"
        case dt.datetime():
            return str(formats.localize(timezone.localtime(value)))
        case dt.date():
            return str(formats.localize(value))
    return str(value)


def _names(fields: Iterable[models.Field[Any, Any]], events: list[Any]) -> dict[Any, Any]:
    """What rows referred to are called, one query per table they are in."""
    wanted: dict[Any, set[Any]] = defaultdict(set)
    for tracked in fields:
        if tracked.is_relation:
            ids = {getattr(event, tracked.attname) for event in events} - {None}
            wanted[tracked.related_model] |= ids
    return {
        model: {key: str(row) for key, row in model._default_manager.in_bulk(ids).items()}
        if ids
        else {}
        for model, ids in wanted.items()
    }


def _who(event: Any, people: dict[int, User]) -> str:
    if event.changed_by_id is None:
        name = _ROLES.get(event.changed_role, "Database")
        return f"{name} (role {event.changed_role})"
    person = people.get(event.changed_by_id)
    if person is not None:
        return str(person)
    # Row security hides the platform's people from members.
    return _ROLES.get(event.changed_role, f"User #{event.changed_by_id}")


__all__ = ["Change", "Entry", "HistoryMixin", "entries_of"]
