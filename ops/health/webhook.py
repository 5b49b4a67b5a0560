"""Telling a chat or another machine: one POST of JSON, in the form that Slack and its kin read.

The address is the secret: whoever has it may write there. So it is never shown or logged, it does
not travel in clear but to this very machine, and it is not sent on to where an answer points.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ops.health.addresses import wrong_address
from ops.health.context import within
from ops.health.contract import BlindError
from ops.health.errors import HealthError

LIMIT = 10.0  # seconds, for everything
_LONGEST_ANSWER = 1_000  # bytes that are read of it; nothing of it is shown


class UndeliveredError(HealthError):
    """A message did not go out, and it is known that it did not or worth a second one."""


def post(url: str, payload: Mapping[str, Any]) -> None:
    """Send it, within LIMIT seconds altogether. Raises UndeliveredError, without the address."""
    if wrong := wrong_address(url):
        raise UndeliveredError(f"The webhook's address {wrong}. Nothing was sent.")
    body = json.dumps(payload).encode()
    try:
        # A socket's own limit is for each piece; an answer may come one letter at a time.
        status = within(LIMIT, lambda: _send(urlsplit(url), body), "The webhook")
    except BlindError as error:
        raise UndeliveredError(str(error)) from None
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
        # Their texts may hold the address; their names don't.
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UndeliveredError(f"The webhook could not be reached ({reason}).") from None
    if not 200 <= status < 300:
        more = " It points elsewhere, and is not followed." if 300 <= status < 400 else ""
        raise UndeliveredError(f"The webhook answered {status}.{more}")


def _send(parts: SplitResult, body: bytes) -> int:
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=LIMIT, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=LIMIT)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "POST", path, body, {"Content-Type": "application/json", "User-Agent": "SRVC"}
        )
        with connection.getresponse() as answer:
            answer.read(_LONGEST_ANSWER)
            return answer.status
    finally:
        connection.close()
