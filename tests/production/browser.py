"""A browser for one site: it trusts its certificate, finds it on this machine, keeps cookies."""

from __future__ import annotations

import re
import socket
import ssl
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

from tests.production.machine import SITE


class Browser:
    """Speaks HTTPS with the proxy, and checks its certificate."""

    def __init__(self, port: int, certificate: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(certificate))
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a page."""
        return self._ask("GET", path, None)

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        """Send a page's form, with its token."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path)[1])
        assert token is not None
        return self._ask("POST", path, urlencode({**fields, "csrfmiddlewaretoken": token[1]}))

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, str]:
        connection = HTTPSConnection(SITE, context=self._context, timeout=60)
        connection._create_connection = (  # type: ignore[attr-defined]
            lambda address, *rest: socket.create_connection(("127.0.0.1", self._port), 60)
        )
        headers = {
            "Referer": f"https://{SITE}{path}",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            self._remember(answer)
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def _remember(self, answer: HTTPResponse) -> None:
        for header in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = header.partition(";")[0].partition("=")
            self._cookies[name] = value
