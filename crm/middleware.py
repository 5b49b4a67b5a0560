"""Times on a page are the business's own."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone


class AccountTimeZoneMiddleware:
    """Shows and reads times in the time zone of the account that asks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        account = getattr(request.user, "account", None)
        if account is None:
            return self.get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(account.time_zone)):
            return self.get_response(request)
