"""Asking for a run, once: a button pressed twice leads to the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.db import connection
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone

from ops.admin.links import change_url
from ops.background import queue
from ops.liveness import living
from ops.models import Backup, Run, RunKind, RunStatus

_CLASS = 0x53525641  # "SRVA": of advisory locks by two numbers
# Each replaces the live database, so one at a time, whatever it brings.
_ALONE = (RunKind.RESTORE, RunKind.UNDO)


def ask_once(
    request: HttpRequest,
    kind: RunKind,
    arguments: dict[str, Any],
    ask: Callable[[], Run],
    *,
    backup: Backup | None = None,
) -> HttpResponseRedirect:
    """Ask for a run and hand it to the worker; go to its page.

    Of one `backup` only runs on the same one are the same. What is under way already is gone to
    instead, with a word about who asked for it. Raises what `ask` raises.
    """
    with connection.cursor() as cursor:
        # Until the request's transaction ends: a second press sees what the first one asked for.
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_CLASS, kind])
    under_way = _under_way(kind, arguments, backup)
    if under_way is not None:
        messages.warning(
            request,
            f"{under_way.asked_by} asked for this at "
            f"{timezone.localtime(under_way.asked_at):%H:%M:%S} already; this is that run.",
        )
        return HttpResponseRedirect(change_url(under_way))
    run = ask()
    if run.status != RunStatus.AWAITING:
        queue(run, by=request.user)
    return HttpResponseRedirect(change_url(run))


def _under_way(kind: RunKind, arguments: dict[str, Any], backup: Backup | None) -> Run | None:
    is_alone = kind in _ALONE and "recovery" not in arguments
    runs = Run.objects.filter(kind=kind, cancel_asked_at__isnull=True)
    if backup is not None:
        runs = runs.filter(backup=backup)
    found: Iterable[Run] = living(runs).newest_first()
    for run in found:
        same = all(run.arguments.get(name) == value for name, value in arguments.items())
        if same or (is_alone and "recovery" not in run.arguments):
            return run
    return None
