"""Refusals of the database become errors of the form, never an error page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest, HttpResponseRedirect

from crm.admin.cells import change_url
from crm.errors import CrmError
from crm.services.refusals import explain_refusal
from ops.admin.looks import ModelAdmin

# Where a form finds why the database refused what it had accepted.
_ATTRIBUTE = "srvc_refusal"


def sentence_of(error: IntegrityError | CrmError) -> str | None:
    """The sentence that tells people why a change was refused; None if it was a bug."""
    return str(error) if isinstance(error, CrmError) else explain_refusal(error)


def refusal_of(request: HttpRequest | None) -> str | None:
    """Why the database refused this request's form a moment ago."""
    return getattr(request, _ATTRIBUTE, None)


class RefusalMixin(ModelAdmin):
    """Runs saving and deleting in a savepoint and shows why the database refused."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            with transaction.atomic():
                return super().changeform_view(request, object_id, form_url, extra_context)
        except (IntegrityError, CrmError) as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
        # Once more, now as a form with an error: what was typed stays on the page.
        setattr(request, _ATTRIBUTE, sentence)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        try:
            with transaction.atomic():
                return super().delete_view(request, object_id, extra_context)
        except (IntegrityError, CrmError) as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
        messages.error(request, f"{sentence} Nothing was deleted.")
        row = self.get_object(request, unquote(object_id))
        return HttpResponseRedirect(change_url(row) if row else "..")

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        # A refusal of one row undoes them all; `response_action` then tells why.
        with transaction.atomic():
            super().delete_queryset(request, queryset)

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *args: Any
    ) -> Any:
        try:
            with transaction.atomic():
                return super().response_action(request, queryset, *args)
        except (IntegrityError, CrmError) as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
        messages.error(request, f"{sentence} Nothing was changed.")
        return HttpResponseRedirect(request.get_full_path())
