"""Buttons on a row's page. What changes something asks first, and is posted with a CSRF token.

Unfold's own detail actions are links: a state changed by GET would be changed by any page that
makes a browser load an address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from ops.admin.links import change_url, list_url
from ops.admin.looks import ModelAdmin
from ops.errors import OpsError


class ConfirmForm(forms.Form):
    """Asks nothing but yes."""

    def __init__(self, *args: Any, row: Any, **kwargs: Any) -> None:
        self.row = row
        super().__init__(*args, **kwargs)

    def explanation(self) -> str:
        """What whoever presses should know besides the question."""
        return ""


class ReasonForm(ConfirmForm):
    """Asks why."""

    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextInputWidget())


class OptionalReasonForm(ReasonForm):
    """Asks why, and takes silence."""

    reason = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget())


Initial = Callable[[Any], dict[str, Any]]


def button(
    *,
    title: str,
    icon: str,
    question: str = "",
    submit: str = "",
    form: type[ConfirmForm] = ConfirmForm,
    initial: Initial | None = None,
    shown: Callable[[Any], bool] = lambda row: True,
    permission: str = "",
    variant: ActionVariant = ActionVariant.DEFAULT,
    downloads: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., HttpResponseBase]]:
    """Make a method `(self, request, row, data)` a button of the row's page.

    The method returns the message to show, where to go, or a response. With a `question` it runs
    only when the dialog is posted; without one it must not change anything. It is offered where
    `shown` says so, to whoever may change rows of the model or has the `permission`. One that
    `downloads` answers with a file, so its page stays. Named in `actions_list` instead of
    `actions_detail`, it stands on the list and its row is None.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        def view(
            self: ButtonsMixin, request: HttpRequest, object_id: str | None = None
        ) -> HttpResponseBase:
            row = None
            if object_id is not None:
                row = self.get_object(request, unquote(object_id))
                if row is None:
                    return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined,no-any-return]
                        request, self.opts, object_id
                    )
            if not self.may_press(request, view, row):
                raise PermissionDenied
            if row is not None and not shown(row):
                # Pressed on a page that has become stale.
                messages.warning(request, f"{row} has changed meanwhile. Nothing was changed.")
                return _go(request, change_url(row))
            if not question:
                return _go(request, function(self, request, row, {}))
            return self.ask(request, view, row)

        view.__name__ = view.original_function_name = function.__name__  # type: ignore[attr-defined]
        view.__doc__ = function.__doc__
        options = {
            "short_description": title,
            "icon": icon,
            "variant": variant,
            "dialog": {"title": question} if question else None,
            "attrs": {},
            "extra_options": {},
            "url_path": function.__name__.replace("_", "-"),
            "perform": function,
            "question": question,
            "submit": submit or title,
            "form_class": form,
            "initial": initial or (lambda row: {}),
            "shown": shown,
            "permission": permission,
            "downloads": downloads,
        }
        for name, value in options.items():
            setattr(view, name, value)
        return view

    return decorate


class ButtonsMixin(ModelAdmin):
    """Offers, asks and runs the buttons named in `actions_detail` and `actions_list`."""

    # What a service raises when it refuses; `refusal` turns it into a sentence, or None: a bug.
    refusals: ClassVar[tuple[type[Exception], ...]] = (OpsError,)

    def refusal(self, error: Exception) -> str | None:
        """The sentence that tells people why; None when nobody should have to read it."""
        return str(error)

    def may_press(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> bool:
        """Whether the user may press a button on this very row."""
        if pressed.permission:
            return bool(request.user.has_perm(pressed.permission))
        return self.has_change_permission(request, row)

    def was_pressed(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> None:
        """Keep a note of it, in the transaction of what was done."""

    def get_actions_list(self, request: HttpRequest) -> list[Any]:
        return [
            action
            for action in super().get_actions_list(request)
            if self.may_press(request, action.method, None)
        ]

    def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[Any]:
        row = self.get_object(request, unquote(str(object_id)))
        if row is None:
            return []
        return [
            action
            for action in super().get_actions_detail(request, object_id)
            if action.method.shown(row) and self.may_press(request, action.method, row)
        ]

    def ask(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> HttpResponseBase:
        """Show the button's dialog, or do what it asked for."""
        form = pressed.form_class(
            request.POST if request.method == "POST" else None,
            row=row,
            initial=pressed.initial(row),
        )
        if request.method == "POST" and form.is_valid():
            try:
                with transaction.atomic():
                    outcome = pressed.perform(self, request, row, form.cleaned_data)
                    self.was_pressed(request, pressed, row)
            except self.refusals as error:
                sentence = self.refusal(error)
                if sentence is None:
                    raise
                form.add_error(None, sentence)
            else:
                return self._answer(request, outcome, row)
        context = {
            **self.admin_site.each_context(request),
            "title": pressed.short_description,
            "question": pressed.question.format(row=row),
            "submit": pressed.submit,
            "form": form,
            "opts": self.opts,
            "original": row,
            "back": self._page_of(row),
            "variant": "danger" if pressed.variant is ActionVariant.DANGER else "primary",
            "downloads": pressed.downloads,
        }
        template = "ops/admin/dialog.html" if _in_dialog(request) else "ops/admin/ask.html"
        return TemplateResponse(request, template, context)

    def _answer(
        self, request: HttpRequest, outcome: Any, row: models.Model | None
    ) -> HttpResponseBase:
        if isinstance(outcome, HttpResponseRedirect):
            return _go(request, outcome)
        if isinstance(outcome, HttpResponseBase):
            return outcome
        messages.success(request, outcome)
        return _go(request, self._page_of(row))

    def _page_of(self, row: models.Model | None) -> str:
        return change_url(row) if row is not None else list_url(self.model)


def _in_dialog(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _go(request: HttpRequest, where: str | HttpResponseRedirect) -> HttpResponseBase:
    """Redirect the page; htmx would load a plain redirect into the dialog."""
    url = where.url if isinstance(where, HttpResponseRedirect) else where
    if _in_dialog(request):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
