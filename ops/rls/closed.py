"""While writes are closed: the lock that says so, and what somebody who wants to write is told.

A restore closes writes by holding the lock exclusively. Every transaction of a request, a task or
a command shares it from its first statement on, so closing waits for those that began before and
refuses those that come after. The lock dies with its holder: no flag is left behind by a crash.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ops.errors import OpsError

# Two numbers that no other application's advisory lock is taken for; within a database.
LOCK_CLASS = 0x53525657  # "SRVW"
WRITES = 1
# Shared by the sessions that a swap ends last, as long as they hold what keeps others from writing.
LAST_TO_GO = 2

RETRY_AFTER = 30  # seconds
# Where a page that asked in the background is sent; srvc.maintenance answers there.
CLOSED_PATH, AWAY_PATH = "/unavailable/closed/", "/unavailable/away/"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class ClosedError(OpsError):
    """Writes are refused for a while, because a restore would lose them."""

    def __init__(self, message: str = "", retry_after: int = RETRY_AFTER) -> None:
        super().__init__(
            message
            or "The database is being restored, so nothing can be changed for a few minutes. "
            "Nothing of this was saved. Do it again when the restore has ended."
        )
        self.retry_after = retry_after  # seconds


def share(connection: psycopg.Connection[Any]) -> None:
    """Keep writes open until the transaction ends, for work as the owner's login.

    Such work is not stopped by itself. Whoever writes rows that must not be lost to a restore
    calls this first, in the transaction that writes. Raises ClosedError.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock_shared(%s, %s)", [LOCK_CLASS, WRITES]
    ).fetchone()
    if row is None or not row[0]:
        raise ClosedError


def is_safe(request: HttpRequest) -> bool:
    """Whether a request only reads, by its method."""
    return request.method in _SAFE_METHODS


def unavailable(request: HttpRequest, *, closed: bool, retry_after: int) -> HttpResponse:
    """Return the page that says to come back, which needs neither database nor session.

    `closed` means that a restore refuses writes; otherwise the database is away for a moment.
    """
    page = render_to_string("503.html", {"closed": closed, "reads": is_safe(request)})
    response = HttpResponse(page, status=503)
    response["Retry-After"] = str(retry_after)
    response["Cache-Control"] = "no-store"
    if request.headers.get("HX-Request") == "true":
        # htmx shows nothing of an answer that failed: it is sent to where the browser can see one.
        response["HX-Redirect"] = CLOSED_PATH if closed else AWAY_PATH
    # It is no fault of ours: no line in the log for every request, no mail.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
