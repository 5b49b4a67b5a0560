"""Views that work on users, sessions and second factors run as the bare login."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse

from ops.rls.session import acting_as_login


def as_login[**P](
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Run a view, and the rendering of its page, outside the request's role."""

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        with acting_as_login():
            response = view(request, *args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):
                response.render()
            return response

    return runs_as_login(wrapper)


def runs_as_login[F: Callable[..., Any]](view: F) -> F:
    """Say of a view that it works as the bare login throughout, as one of `as_login` does.

    The row security middleware then gives it no auditor's transaction, in which nothing may be
    written.
    """
    view.runs_as_login = True  # type: ignore[attr-defined]
    return view
