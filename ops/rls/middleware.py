"""One transaction per request, in the name of whoever asks."""

from collections.abc import Callable, Iterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

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
        via = f"{request.method} {request.path}"[:200]
        with acting_as(user, via=via):
            response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _streamed(iter(response), user, via)
        return response


def _streamed(content: Iterator[bytes], user: Actor | None, via: str) -> Iterator[bytes]:
    # The body is produced after the request's transaction: it brings its own.
    with acting_as(user, via=via):
        yield from content
