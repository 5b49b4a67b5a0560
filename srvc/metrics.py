"""`/metrics`: numbers for Prometheus, for whoever has the token or comes from a network of ours.

It comes before every other middleware, as the probes do: it is called by address, keeps no session,
and answers while a restore keeps writes closed. Who may not read it learns nothing, and where
nobody may, there is nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Callable

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.utils import timezone
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ops.health.metrics import exposition
from srvc.throttling import peer

log = logging.getLogger(__name__)

PATH = "/metrics"
_SCHEME = "bearer "


class MetricsMiddleware:
    """Answers `/metrics` and passes everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info != PATH or not (settings.METRICS_TOKEN or settings.METRICS_ALLOW):
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = _numbers() if may_read(request) else HttpResponse(status=403)
        response["Cache-Control"] = "no-store"
        # What fails is logged below, with its reason; Django would add a line each time.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


def may_read(request: HttpRequest) -> bool:
    """Whether a request has the token, or comes from a network that needs none."""
    return _has_token(request) or _is_near(request)


def _has_token(request: HttpRequest) -> bool:
    given = request.META.get("HTTP_AUTHORIZATION", "")
    if not settings.METRICS_TOKEN or not given.lower().startswith(_SCHEME):
        return False
    token = given[len(_SCHEME) :].strip()
    # As bytes: a token with letters that are not ASCII is wrong, and no error.
    return secrets.compare_digest(
        token.encode("utf-8", "surrogateescape"), settings.METRICS_TOKEN.encode()
    )


def _is_near(request: HttpRequest) -> bool:
    address = peer(request)
    return address is not None and any(
        address in ipaddress.ip_network(each, strict=False) for each in settings.METRICS_ALLOW
    )


def _numbers() -> HttpResponse:
    try:
        return HttpResponse(exposition(timezone.now()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    except Error as error:
        log.warning("metrics: the database does not answer: %s", type(error).__name__)
        return HttpResponse("The database does not answer.\n", "text/plain", status=503)
