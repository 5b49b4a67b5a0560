"""The TLS step of a ping: what libpq would ask of the server, asked by itself."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ops.postgres.endpoint import Endpoint

# PostgreSQL's protocol, "SSLRequest": its length, and a number that is no version.
_REQUEST = struct.pack("!ii", 8, 80_877_103)
_DEMANDING = {"require", "verify-ca", "verify-full"}
_FOLDER = Path("~/.postgresql")


class NoTlsError(OSError):
    """The server has no TLS, and the address demands it."""


class NotPostgresError(OSError):
    """What answered does not speak PostgreSQL's protocol."""


@dataclass(frozen=True)
class Tls:
    """What an address says about TLS."""

    host: str
    mode: str
    direct: bool  # without asking first (PostgreSQL 17)
    authority: str  # a file, "system" or ""
    certificate: str
    key: str
    key_password: str

    @classmethod
    def of(cls, endpoint: Endpoint, host: str, default: Callable[[str], str]) -> Self:
        """Return what an endpoint asks for; `default` tells what libpq takes for an option."""

        def option(name: str) -> str:
            return endpoint.options.get(name) or default(name)

        authority = option("sslrootcert") or _usual("root.crt")
        mode = option("sslmode") or "prefer"
        return cls(
            host=host,
            mode="verify-full" if authority == "system" else mode,
            direct=option("sslnegotiation") == "direct",
            authority=authority,
            certificate=option("sslcert") or _usual("postgresql.crt"),
            key=option("sslkey") or _usual("postgresql.key"),
            key_password=option("sslpassword"),
        )

    @property
    def is_tried(self) -> bool:
        """Whether libpq would try TLS first."""
        return self.mode not in {"disable", "allow"}

    def shake_hands(self, connection: socket.socket, seconds: float) -> str:
        """Return TLS's version as agreed upon, or "" when the connection stays in clear.

        Raises OSError (ssl.SSLError, NoTlsError, NotPostgresError, TimeoutError).
        """
        connection.settimeout(seconds)
        if not self.direct and not self._is_offered(connection):
            if self.mode in _DEMANDING:
                raise NoTlsError
            return ""
        wrapped = self._context().wrap_socket(connection, server_hostname=self.host)
        with wrapped:
            return wrapped.version() or "TLS"

    def _is_offered(self, connection: socket.socket) -> bool:
        connection.sendall(_REQUEST)
        answer = connection.recv(1)
        if not answer:
            raise ConnectionResetError
        if answer not in {b"S", b"N"}:
            raise NotPostgresError
        return answer == b"S"

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # libpq checks the authority wherever it has one, unless TLS is merely preferred.
        checks = self.mode in {"verify-ca", "verify-full"} or (
            self.mode == "require" and self.authority
        )
        context.check_hostname = self.mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if checks else ssl.CERT_NONE
        if checks and self.authority == "system":
            context.load_default_certs()
        elif checks and self.authority:
            context.load_verify_locations(self.authority)
        if self.certificate and self.key:
            context.load_cert_chain(self.certificate, self.key, self.key_password or None)
        if self.direct:
            context.set_alpn_protocols(["postgresql"])
        return context


def _usual(name: str) -> str:
    """A file where libpq looks for it, when it is there."""
    file = (_FOLDER / name).expanduser()
    return str(file) if file.is_file() else ""
