"""`/healthz`: is the process there? `/readyz`: can it serve? For load balancers and monitors.

They come before every other middleware: no session, no redirect to HTTPS, no check of the Host
header, since a balancer calls by address. They say nothing that a stranger should not know.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, JsonResponse

from srvc import static_files

logger = logging.getLogger(__name__)

TIME_LIMIT = 2  # seconds, for each of connecting and asking
# However often it is asked, the database is looked at once in this many seconds.
REMEMBERED_FOR = 1.0


class ProbeMiddleware:
    """Answers the two probes and passes everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._lock = threading.Lock()
        self._failing: list[str] = []
        self._looked_at = float("-inf")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in ("/healthz", "/readyz"):
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        failing = self._recent() if request.path_info == "/readyz" else []
        response = JsonResponse(
            {"status": "failing" if failing else "ok", "failing": failing},
            status=503 if failing else 200,
        )
        response["Cache-Control"] = "no-store"
        # What fails is logged below, with its reason; Django would add a line for every probe.
        response._has_been_logged = True  # type: ignore[attr-defined]
        response["Content-Length"] = str(len(response.content))
        return response

    def _recent(self) -> list[str]:
        with self._lock:
            if time.monotonic() - self._looked_at > REMEMBERED_FOR:
                self._failing = [*_failing_files(), *failing_parts()]
                self._looked_at = time.monotonic()
            return self._failing


def failing_parts() -> list[str]:
    """Names of what keeps this process from serving: `database` or `migrations`."""
    # A connection of its own: a busy pool is no reason to be taken out of service, and Django's
    # would wait longer for a server that doesn't answer.
    arguments = connections[DEFAULT_DB_ALIAS].get_connection_params()
    for key in ("pool", "cursor_factory", "context", "prepare_threshold", "connect_timeout"):
        arguments.pop(key, None)
    try:
        # In one transaction: behind a pooler a limit of the session would be somebody else's.
        with psycopg.connect(**arguments, connect_timeout=TIME_LIMIT) as connection:
            connection.execute(f"SET LOCAL statement_timeout = '{TIME_LIMIT}s'")
            rows = connection.execute("SELECT app, name FROM django_migrations").fetchall()
    except psycopg.errors.UndefinedTable:
        return ["migrations"]
    except psycopg.Error as error:
        logger.warning("readyz: the database does not answer: %s", type(error).__name__)
        return ["database"]
    return ["migrations"] if _wanted() - {(app, name) for app, name in rows} else []


def _failing_files() -> list[str]:
    if static_files.are_served():
        return []
    logger.warning(
        "readyz: static files are not collected, so every page is an error. Run `%s` and restart "
        "the web process.",
        static_files.COMMAND,
    )
    return ["static files"]


@cache
def _wanted() -> set[tuple[str, str]]:
    # The newest migration of every app, as the source has them: they don't change while we run.
    return set(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())
