"""Without the second factor that somebody needs, only its own pages answer."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse

from srvc.two_factor.services import Missing, what_is_missing

_PAGE = {"enrolment": "admin:two_factor", "verification": "admin:two_factor_verify"}


class TwoFactorMiddleware:
    """Sends whoever still owes a second factor to the page that asks for it.

    It stands before row security, so that no statement runs under a role they have not earned.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        missing: Missing = ""
        if request.user.is_authenticated:
            missing = what_is_missing(request.user)
        request.second_factor_missing = missing  # type: ignore[attr-defined]
        if not missing or _view_name(request) in (_PAGE[missing], "admin:logout"):
            return self.get_response(request)
        query = ""
        if request.method == "GET":
            query = "?" + urlencode({"next": request.get_full_path()})
        return HttpResponseRedirect(reverse(_PAGE[missing]) + query)


def _view_name(request: HttpRequest) -> str | None:
    try:
        return resolve(request.path_info).view_name
    except Resolver404:
        return None
