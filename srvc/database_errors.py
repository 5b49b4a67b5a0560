"""What PostgreSQL refuses within a request, told as a page with the right status.

Django answers every uncaught error of the database with 500. Most are none of our bugs: a value
that no column can hold, a right that the request's role lacks, somebody else's change at the same
moment. They are told here, in one place, for every page. A database that is away or closed for
writing is the affair of srvc.maintenance.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from traceback import walk_tb

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.views import defaults

from srvc.maintenance import why_unavailable

log = logging.getLogger(__name__)
_RETRY_AFTER = 5  # seconds
_PAGE = "refused.html"
# Modules in which Django makes queries of values; the admin's lists know dates by themselves.
_MAKES_QUERIES = ("django.db.", "django.contrib.admin.views.main")


@dataclass(frozen=True)
class Refusal:
    """How a page says no: its status, its title, what happened and what to do next."""

    status: int
    title: str
    text: str


IMPOSSIBLE = Refusal(
    400,
    "This value can't be used",
    "Something in the address or the form is no value that can be looked up or saved, such as a "
    "date beyond the calendar or a character that no text may hold. Nothing was changed. Go back "
    "and correct it.",
)
FORBIDDEN = Refusal(
    403,
    "You may not do this",
    "The database keeps these rows from you. Nothing was changed. If you need them, ask the owner "
    "of your business.",
)
CONFLICT = Refusal(
    409,
    "Somebody else changed the same data",
    "At the same moment somebody changed what this depends on, so nothing of yours was saved. Go "
    "back, reload the page, and do it again if it is still needed.",
)
BUSY = Refusal(
    503,
    "This took too long",
    "The database waited too long for somebody else's change, or had too much to do. Nothing was "
    "changed. Try again in a moment; a list is faster with a filter or a shorter search.",
)

# By SQLSTATE, exact ones first, then by class (its first two letters).
_BY_STATE: dict[str, Refusal] = {
    "42501": FORBIDDEN,  # insufficient_privilege
    "40001": CONFLICT,  # serialization_failure
    "40P01": CONFLICT,  # deadlock_detected
    "55P03": BUSY,  # lock_not_available: lock_timeout
    "57014": BUSY,  # query_canceled: statement_timeout, or an administrator
    "22": IMPOSSIBLE,  # data exceptions: numbers, dates, encodings, regular expressions
    "23": CONFLICT,  # integrity constraints that no form explained
    "54": IMPOSSIBLE,  # program limits: an index's row, a statement's depth
    "53": BUSY,  # resources: memory, disk
}


def refusal_of(error: BaseException | None) -> Refusal | None:
    """Return how to tell an error; None for a database that is away, and for our own bugs."""
    if why_unavailable(error):
        return None
    while error is not None:
        if isinstance(error, psycopg.Error):
            state = error.sqlstate or ""
            if state:
                return _BY_STATE.get(state) or _BY_STATE.get(state[:2])
            # Refused before it was sent: text with a NUL, a number of too many digits.
            return IMPOSSIBLE if isinstance(error, psycopg.DataError) else None
        if isinstance(error, OverflowError | UnicodeEncodeError) or _made_no_query(error):
            # Beyond what Python's dates and numbers hold; half a surrogate pair.
            return IMPOSSIBLE
        error = error.__cause__ or error.__context__
    return None


def _made_no_query(error: BaseException) -> bool:
    """Whether Django found no way to put a value into a query: the year 0, a word for a number.

    Python's own modules raise some of it in Django's name, such as `ipaddress`.
    """
    if not isinstance(error, ValueError):
        return False
    modules = [
        str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)
    ]
    while modules and modules[-1].partition(".")[0] in sys.stdlib_module_names:
        modules.pop()
    return bool(modules) and modules[-1].startswith(_MAKES_QUERIES)


class DatabaseErrorMiddleware:
    """Answers what PostgreSQL refuses in a view, before Django makes a 500 of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the page that tells it; None leaves it to Django."""
        answer = told(request, error)
        connection = connections[DEFAULT_DB_ALIAS]
        if answer is not None and connection.in_atomic_block:
            # A page fails after its view as well, while it is rendered: PostgreSQL then refuses
            # every further statement, and nothing of this request is to stay.
            connection.set_rollback(True)
        return answer


def told(request: HttpRequest, error: BaseException | None) -> HttpResponse | None:
    """Return the page that tells an error; None when it is no refusal. The log has it whole."""
    refusal = refusal_of(error)
    if refusal is None:
        return None
    log.warning(
        "%s %s: answered with %s", request.method, request.path, refusal.status, exc_info=error
    )
    page = render_to_string(_PAGE, {"refusal": refusal})
    response = HttpResponse(page, status=refusal.status)
    response["Cache-Control"] = "no-store"
    if refusal.status == BUSY.status:
        response["Retry-After"] = str(_RETRY_AFTER)
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def server_error(request: HttpRequest) -> HttpResponseBase:
    """`handler500`: Django's own, but for what can be told, also of what failed around a view."""
    if "unavailable" in request.__dict__:
        # The middleware of srvc.maintenance answers in its stead.
        response = HttpResponse(status=503)
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response
    return told(request, sys.exc_info()[1]) or defaults.server_error(request)
