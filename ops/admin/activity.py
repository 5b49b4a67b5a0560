"""Ops → Health → Activity: sessions as they are now, who blocks whom, and ending one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import ConfirmForm
from ops.admin.words import exactly, length
from ops.health.activity import Activity, Session, activity, end_session, masked
from ops.health.errors import HealthError

RIGHT = "ops.signal_session"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_CANCEL, _END = "cancel", "end"


@dataclass(frozen=True)
class SessionRow:
    """A session as the page shows it."""

    session: Session
    took: str
    since: str
    state: str
    waits: str
    depth: int
    holds_up: int
    cancel: str  # addresses; "" where it is not offered
    end: str


class SignalForm(ConfirmForm):
    """Asks nothing but yes, and says to what."""

    def __init__(self, *args: Any, row: Any, ending: bool, **kwargs: Any) -> None:
        self.ending = ending
        super().__init__(*args, row=row, **kwargs)

    def explanation(self) -> str:
        """What becomes of the session's work."""
        session: Session = self.row
        lost = (
            "The session is closed and its open transaction is undone; whoever used it meets an "
            "error and has to connect again."
            if self.ending
            else "The statement that it runs is stopped and undone; the session goes on. A session "
            "that is idle in a transaction keeps what it holds: end that one."
        )
        return f"{session.title}: {session.summary or 'no statement'}. {lost} It is recorded."


class ActivityPages(OpsModelAdmin):
    """The pages of live sessions, below the findings' own address."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        signal = require_http_methods(["GET", "POST"])(self.signal_view)
        return [
            path("activity/", view(require_GET(self.activity_view)), name="ops_finding_activity"),
            path(
                "activity/<int:pid>/<int:started>/<str:act>/",
                view(signal),
                name="ops_finding_signal",
            ),
            *super().get_urls(),
        ]

    def may_signal(self, request: HttpRequest) -> bool:
        """Whether the user may end sessions; an auditor may nothing of the kind."""
        user: Any = request.user
        return bool(user.is_platform_administrator and user.has_perm(RIGHT))

    def activity_view(self, request: HttpRequest) -> HttpResponse:
        """The page; htmx asks for it again every few seconds and takes the sessions out of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        user: Any = request.user
        found = activity()
        may_signal = self.may_signal(request) and found.may_signal
        blocking = {each.session.pid: each for each in found.blocking}
        sessions = [
            each if user.is_platform_administrator else masked(each) for each in found.sessions
        ]
        busy = [each for each in sessions if not each.is_idle and each.pid not in blocking]
        known = {each.pid: each for each in sessions}
        return self.own_page(  # type: ignore[attr-defined,no-any-return]
            request,
            "ops/activity.html",
            "Activity",
            tab="activity",
            blocking=[
                _row(known[pid], now, each.depth, each.holds_up, may_signal=may_signal)
                for pid, each in blocking.items()
            ],
            busy=[
                _row(each, now, may_signal=may_signal)
                for each in sorted(busy, key=lambda each: each.since)
            ],
            idle=[
                _row(each, now, may_signal=may_signal)
                for each in sorted(sessions, key=lambda each: each.since)
                if each.is_idle and each.pid not in blocking
            ],
            missing=found.missing,
            hidden=_hidden(found),
            asked_at=f"{timezone.localtime(now):%H:%M:%S}",
            answer=_answer(found),
        )

    def signal_view(
        self, request: HttpRequest, pid: int, started: int, act: str
    ) -> HttpResponseBase:
        """Ask before a session is touched; do it when the answer is posted."""
        if act not in {_CANCEL, _END} or not self.has_view_permission(request):
            raise PermissionDenied
        if not self.may_signal(request):
            raise PermissionDenied
        back = reverse("admin:ops_finding_activity")
        try:
            began = _EPOCH + started * _MICROSECOND
        except OverflowError:
            raise PermissionDenied from None
        session = activity().find(pid, began)
        if session is None:
            messages.warning(request, f"Session {pid} is over already. Nothing was done.")
            return _go(request, back)
        ending = act == _END
        form = SignalForm(request.POST or None, row=session, ending=ending)
        if request.method == "POST":
            # A form without fields is valid as soon as it is posted.
            form = SignalForm(request.POST, row=session, ending=ending)
            form.is_valid()
            try:
                with transaction.atomic():
                    run = end_session(session, ending=ending, by=asker(request), now=timezone.now())
            except HealthError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, run.message)
                return _go(request, back)
        title = "End the session" if ending else "Cancel its query"
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "question": f"{title}?",
            "submit": title,
            "form": form,
            "opts": self.opts,
            "back": back,
            "variant": "danger" if ending else "primary",
        }
        in_dialog = request.headers.get("HX-Request") == "true"
        template = "ops/admin/dialog.html" if in_dialog else "ops/admin/ask.html"
        return TemplateResponse(request, template, context)


def _go(request: HttpRequest, url: str) -> HttpResponseBase:
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def _row(
    session: Session, now: dt.datetime, depth: int = 0, holds_up: int = 0, *, may_signal: bool
) -> SessionRow:
    may_signal = may_signal and not session.is_superuser
    number = (session.backend_start - _EPOCH) // _MICROSECOND

    def address(act: str) -> str:
        return reverse("admin:ops_finding_signal", args=[session.pid, number, act])

    return SessionRow(
        session,
        length(max((now - session.since).total_seconds(), 0)),
        exactly(session.since),
        session.state or "not shown",
        _waits(session),
        depth,
        holds_up,
        address(_CANCEL) if may_signal and session.state == "active" else "",
        address(_END) if may_signal else "",
    )


def _waits(session: Session) -> str:
    if session.blocked_by:
        whom = ", ".join(
            f"session {pid}" if pid else "a prepared transaction" for pid in session.blocked_by
        )
        return f"waits for {whom}: {session.waits_for or 'a lock'}"
    if session.state != "active" or not session.wait_type:
        return ""
    return f"waits: {session.wait_type} {session.wait}"


def _hidden(found: Activity) -> int:
    """How many sessions do what nobody may see."""
    return sum(each.is_hidden for each in found.sessions)


def _answer(found: Activity) -> tuple[str, str]:
    """Level and sentence."""
    waiting = sum(bool(each.blocked_by) for each in found.sessions)
    number = len(found.sessions)
    active = sum(not each.is_idle for each in found.sessions)
    sessions = f"{number:,} session{'' if number == 1 else 's'}, {active:,} at work"
    if waiting:
        waits = "session waits" if waiting == 1 else "sessions wait"
        return "warning", f"{waiting} {waits} for another"
    return "good", f"Nobody waits: {sessions}"
