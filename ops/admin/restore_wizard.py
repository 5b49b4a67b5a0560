"""The restore wizard: what, from which, with which choices, a preview, a typed confirmation.

Each step is a page of its own whose address has the answers so far, so that going back, reloading
and bookmarking work, without a script too. Only the last page of a kind is posted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    QueryDict,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.overview import overview
from ops.admin.restore_answers import Answers, described
from ops.admin.restore_costs import costs, warnings
from ops.admin.restore_forms import NameForm, SourceForm, StepForm, WhatForm, database_name
from ops.admin.restore_options import RecoverOptionsForm, RestoreOptionsForm
from ops.errors import OpsError
from ops.models import RunKind
from ops.restores.complete.restore import ask_for_restore
from ops.restores.partial.recover import ask_for_recovery

RESTORE, RECOVER = "ops.run_restore", "ops.run_recovery"
STEPS = {
    "what": "What",
    "from": "From which",
    "options": "Choices",
    "preview": "Preview",
    "confirm": "Confirm",
}
_ASKING = ("what", "from", "options")
_FIELDS = {
    "what": ("what",),
    "from": ("source", "at"),
    "options": (
        *RestoreOptionsForm.base_fields,
        *RecoverOptionsForm.base_fields,
    ),
}
_GO = "go"


@dataclass(frozen=True)
class _Mark:
    """A step as the page's head shows it."""

    number: int
    title: str
    state: str  # done, now, later
    url: str = ""


def wizard_url(step: str = "what", query: QueryDict | dict[str, str] | None = None) -> str:
    """The address of a step, with answers."""
    url = reverse("admin:ops_restore_wizard", args=[step])
    if isinstance(query, dict) and not isinstance(query, QueryDict):
        given = QueryDict(mutable=True)
        given.update(query)
        query = given
    return f"{url}?{query.urlencode()}" if query else url


class WizardViews(OpsModelAdmin):
    """The wizard's pages, below the list of restores."""

    def get_urls(self) -> list[URLPattern]:
        view = require_http_methods(["GET", "POST"])(self.wizard_view)
        step = path("new/<slug:step>/", self.admin_site.admin_view(view), name="ops_restore_wizard")
        return [step, *super().get_urls()]

    def wizard_view(self, request: HttpRequest, step: str) -> HttpResponseBase:
        """One step."""
        may = [right for right in (RESTORE, RECOVER) if request.user.has_perm(right)]
        if not self.has_view_permission(request) or not may:
            raise PermissionDenied
        if step not in STEPS:
            raise Http404
        query = _answers_in(request.GET)
        answers = Answers()
        for earlier in _ASKING:
            if earlier == step:
                break
            form = _form(earlier, answers, query)
            if not form.is_valid():
                return HttpResponseRedirect(wizard_url(earlier, query))
            form.keep()
            _require(request, answers)
        if step in _ASKING:
            return self._asked(request, step, answers, query)
        if step == "preview":
            return self._preview(request, answers, query)
        return self._confirm(request, answers, query)

    def _asked(
        self, request: HttpRequest, step: str, answers: Answers, query: QueryDict
    ) -> HttpResponseBase:
        if request.method == "POST":
            raise PermissionDenied
        form = _form(step, answers, query, is_answered=_GO in request.GET)
        if form.is_bound and form.is_valid():
            form.keep()
            _require(request, answers)
            return HttpResponseRedirect(wizard_url(_next(step), query))
        if isinstance(form, WhatForm):
            _leave_out_forbidden(request, form)
        # What other steps were answered goes along.
        others = [
            (name, value)
            for name in query
            if name not in form.fields
            for value in query.getlist(name)
        ]
        # Where one can go, beside the question which one.
        seen = overview(timezone.now()) if step == "from" else None
        return self._page(request, step, answers, query, form=form, others=others, overview=seen)

    def _preview(
        self, request: HttpRequest, answers: Answers, query: QueryDict
    ) -> HttpResponseBase:
        now = timezone.now()
        if answers.is_complete:
            if request.method == "POST":
                raise PermissionDenied
            return self._page(
                request, "preview", answers, query,
                costs=costs(answers, now), warnings=warnings(answers),
                onward=wizard_url("confirm", query),
            )  # fmt: skip
        wanted = answers.recover_request(dry_run=True)
        refusal = ""
        if request.method == "POST":
            try:
                return ask_once(
                    request,
                    RunKind.RECOVER,
                    wanted.as_json(),
                    lambda: ask_for_recovery(wanted, by=asker(request)),
                )
            except OpsError as error:
                refusal = str(error)
        told = [("From", answers.origin), *described(wanted)]
        return self._page(request, "preview", answers, query, told=told, refusal=refusal)

    def _confirm(
        self, request: HttpRequest, answers: Answers, query: QueryDict
    ) -> HttpResponseBase:
        if not answers.is_complete:
            # Rows are confirmed on the page of their preview.
            return HttpResponseRedirect(wizard_url("preview", query))
        form = NameForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            wanted = answers.restore_request()
            try:
                return ask_once(
                    request,
                    RunKind.RESTORE,
                    wanted.as_json(),
                    lambda: ask_for_restore(wanted, by=asker(request)),
                )
            except OpsError as error:
                form.add_error(None, str(error))
        return self._page(
            request, "confirm", answers, query,
            form=form, warnings=warnings(answers), database=database_name(),
            environment_name=settings.ENVIRONMENT, two_persons=settings.RESTORE_TWO_PERSONS,
        )  # fmt: skip

    def _page(
        self,
        request: HttpRequest,
        step: str,
        answers: Answers,
        query: QueryDict,
        **context: Any,
    ) -> HttpResponse:
        names = list(STEPS)
        place = names.index(step)
        response = TemplateResponse(
            request,
            "ops/wizard.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": "Restore",
                "step": step,
                "marks": marks(step, query),
                "answers": answers,
                "back": wizard_url(names[place - 1], query) if place else "",
                "has_view_permission": True,
                "is_production": settings.PRODUCTION_LIKE,
                **context,
            },
        )
        response["Cache-Control"] = "no-store"
        return response


def marks(step: str, query: QueryDict | None = None) -> list[_Mark]:
    """The steps, those done with a way back to them."""
    place = list(STEPS).index(step)
    return [
        _Mark(
            number + 1,
            title,
            "done" if number < place else "now" if number == place else "later",
            wizard_url(name, query) if query is not None and number < place else "",
        )
        for number, (name, title) in enumerate(STEPS.items())
    ]


def _answers_in(given: QueryDict) -> QueryDict:
    """The answers of an address, and nothing else that it may carry."""
    known = QueryDict(mutable=True)
    for names in _FIELDS.values():
        for name in names:
            if name in given:
                known.setlist(name, given.getlist(name))
    return known


def _form(step: str, answers: Answers, query: QueryDict, *, is_answered: bool = True) -> StepForm:
    kind: type[StepForm] = WhatForm if step == "what" else SourceForm
    if step == "options":
        kind = RestoreOptionsForm if answers.is_complete else RecoverOptionsForm
    if is_answered:
        return kind(query, answers=answers)
    before = {
        name: query.getlist(name) if name == "tables" else query[name]
        for name in _FIELDS[step]
        if name in query
    }
    return kind(initial=before, answers=answers)


def _require(request: HttpRequest, answers: Answers) -> None:
    if not request.user.has_perm(RESTORE if answers.is_complete else RECOVER):
        raise PermissionDenied


def _leave_out_forbidden(request: HttpRequest, form: StepForm) -> None:
    offered = form.fields["what"].choices  # type: ignore[attr-defined]
    form.choose(
        "what",
        [
            (name, text)
            for name, text in offered
            if request.user.has_perm(RESTORE if Answers(what=name).is_complete else RECOVER)
        ],
    )


def _next(step: str) -> str:
    names = list(STEPS)
    return names[names.index(step) + 1]
