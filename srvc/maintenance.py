"""What people see while the database is closed for writing, or away for the moment of a swap.

A page that only reads is tried again for a few seconds: a swap is over before that, so its reader
notices nothing. Everything else is answered with 503, which says whether something was saved.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.signals import got_request_exception
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ops.rls.closed import (
    AWAY_PATH,
    CLOSED_PATH,
    RETRY_AFTER,
    ClosedError,
    is_safe,
    unavailable,
)

log = logging.getLogger(__name__)

PATIENCE = 3.0  # seconds
_PAUSE = 0.05
_RETRY_AFTER_AWAY = 5  # seconds
# Of class OperationalError are a full disk and a cancelled query too: those are no absence.
_AWAY_STATES = frozenset(
    {
        "57P01",  # terminating connection due to administrator command
        "57P02",  # … because of the crash of another server process
        "57P03",  # the database system is starting up
        "57P05",  # idle session timeout
        "55000",  # database is not currently accepting connections
        "3D000",  # database does not exist, between two names
        "53300",  # too many connections
    }
)
CLOSED, AWAY = "closed", "away"
# Left on a request by a former try.
_LOADED_USER = ("_cached_user", "_acached_user")


class MaintenanceMiddleware:
    """Tries again what only reads, and answers 503 instead of 500 for the rest."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in (CLOSED_PATH, AWAY_PATH):
            return _page(request, closed=request.path_info == CLOSED_PATH)
        deadline = time.monotonic() + PATIENCE
        while True:
            response = self.get_response(request)
            why = request.__dict__.pop("unavailable", "")
            if not why:
                return response
            # The connection is of no use any more, and a pool's next one is another.
            for each in connections.all(initialized_only=True):
                if not each.in_atomic_block:
                    each.close()
            if why == CLOSED or not is_safe(request) or time.monotonic() > deadline:
                return _page(request, closed=why == CLOSED)
            for name in _LOADED_USER:
                request.__dict__.pop(name, None)
            time.sleep(_PAUSE)


def why_unavailable(error: BaseException | None) -> str:
    """Tell by an exception whether the database was closed or away; "" for any other failure."""
    while error is not None:
        if isinstance(error, ClosedError | psycopg.errors.ReadOnlySqlTransaction):
            return CLOSED
        if isinstance(error, psycopg.OperationalError) and (
            error.sqlstate is None  # there was no connection to begin with, or it broke
            or error.sqlstate.startswith("08")
            or error.sqlstate in _AWAY_STATES
        ):
            return AWAY
        if isinstance(error, psycopg.InterfaceError) and "connection is closed" in str(error):
            return AWAY
        error = error.__cause__ or error.__context__
    return ""


def _page(request: HttpRequest, *, closed: bool) -> HttpResponse:
    return unavailable(
        request, closed=closed, retry_after=RETRY_AFTER if closed else _RETRY_AFTER_AWAY
    )


def _note(sender: Any, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Remember why a request failed; sent by Django before it makes a page of the failure."""
    if request is None:
        return
    error = sys.exc_info()[1]
    if why := why_unavailable(error):
        request.__dict__["unavailable"] = why
        log.warning(
            "%s %s: the database is %s (%s)", request.method, request.path, why,
            type(error).__name__,
        )  # fmt: skip


got_request_exception.connect(_note, dispatch_uid="srvc.maintenance")
