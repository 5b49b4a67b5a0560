"""One transaction per request, in the name of whoever asks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeGuard

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import Resolver404, resolve

from ops.rls.closed import ClosedError, is_safe, unavailable
from ops.rls.session import Actor, acting_as


class RowSecurityMiddleware:
    """Opens the request's transaction and tells the database who is asking.

    `ATOMIC_REQUESTS` would open its transaction around the view only, after the middlewares, and
    a `SET LOCAL` needs one already. It stays on as well: a view's error then rolls back its
    savepoint while sessions and throttling below still commit.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Loads session and user now, as the bare login: a member's role may not read them.
        user = request.user if request.user.is_authenticated else None
        actor = user
        if user is not None and user.is_auditor and runs_as_login(request):
            # What they may still write is their own sign-in, by the bare login (acting_as_login):
            # nothing could be written within an auditor's transaction.
            actor = None
        if user is not None:
            _receive(request)
        via = f"{request.method} {request.path}"[:200]
        with ExitStack() as stack:
            try:
                stack.enter_context(acting_as(actor, via=via, writes=not is_safe(request)))
            except ClosedError as error:
                return unavailable(request, closed=True, retry_after=error.retry_after)
            response = self.get_response(request)
        if _asks_the_database(response):
            response.streaming_content = _streamed(iter(response), user, via)
        return response


def runs_as_login(request: HttpRequest) -> bool:
    """Whether the page asked for works as the bare login throughout, and says so of itself."""
    return bool(getattr(_view(request), "runs_as_login", False))


def _receive(request: HttpRequest) -> None:
    """Let a page whose requests take minutes to arrive receive one before its transaction.

    Such a view has a function `receive`, which is given the request as the bare login.
    """
    receive = getattr(_view(request), "receive", None)
    if receive is not None:
        receive(request)


def _view(request: HttpRequest) -> Callable[..., object] | None:
    """The view that will answer; None for an address of no page."""
    try:
        return resolve(request.path_info).func
    except Resolver404:
        return None


def _asks_the_database(response: HttpResponseBase) -> TypeGuard[StreamingHttpResponse]:
    """Whether its body is produced later, by queries; a file's stream says that it needs none."""
    return (
        isinstance(response, StreamingHttpResponse)
        and not response.is_async
        and getattr(response, "needs_database", True)
    )


def _streamed(content: Iterator[bytes], user: Actor | None, via: str) -> Iterator[bytes]:
    # The body is produced after the request's transaction: it brings its own.
    with acting_as(user, via=via, writes=False):
        yield from content
