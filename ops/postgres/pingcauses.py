"""Why a step of a connection usually fails, and what to do next: for people."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass

from ops.postgres.pingtls import NoTlsError, NotPostgresError


@dataclass(frozen=True)
class Cause:
    """A failure in words. `next_step` can be run as it is."""

    what: str
    cause: str
    next_step: str


class PingFailure(Exception):  # noqa: N818 (a result: which step failed, and why)
    """A step failed."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.what)
        self.cause = cause


def of_name(host: str, error: Exception) -> Cause:
    """The name is nobody's."""
    reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
    return Cause(
        f"The name {host} is not known here ({reason}).",
        "A typing error in the address, a name that only another network knows (VPN), or a name "
        "server that is away.",
        f"getent hosts {host}",
    )


def of_slow_names(host: str, seconds: float) -> Cause:
    """The name servers do not answer."""
    return Cause(
        f"Nobody said within {seconds:g} s which address {host} is.",
        "The name servers of this machine (/etc/resolv.conf) are away.",
        f"getent hosts {host}",
    )


def of_network(error: OSError, host: str, port: str, seconds: float) -> Cause:
    """No connection to a port."""
    where = f"{host}, port {port}"
    if isinstance(error, TimeoutError):
        return Cause(
            f"{where} did not answer within {seconds:g} s.",
            "A firewall or a security group drops the packets, or the machine is down.",
            f"traceroute {host}",
        )
    if isinstance(error, ConnectionRefusedError):
        return Cause(
            f"{where} refuses connections.",
            "The server is not running, runs on another port, or listens on other addresses "
            "(listen_addresses).",
            f"pg_isready --host={host} --port={port}",
        )
    return Cause(
        f"{where} can't be reached ({error.strerror or error}).",
        "There is no way from this network to that address.",
        f"ip route get {host}",
    )


def of_socket(error: OSError, path: str) -> Cause:
    """No connection to a unix socket."""
    if isinstance(error, FileNotFoundError):
        return Cause(
            f"There is no socket {path}.",
            "The server is not running, or keeps its sockets in another folder "
            "(unix_socket_directories). The one that ships with SRVC is started with the site.",
            "make run",
        )
    if isinstance(error, PermissionError):
        return Cause(
            f"This user may not use the socket {path}.",
            "The folder, or one above it, is closed to this user.",
            f"namei -l {path}",
        )
    if isinstance(error, ConnectionRefusedError):
        return Cause(
            f"Nobody listens on the socket {path}.",
            "The server was killed and left it behind, or is only just starting.",
            "make run",
        )
    return Cause(
        f"The socket {path} can't be used ({error.strerror or error}).",
        "The server has too much to do to accept anybody, or is stopped.",
        "manage.py dbping --count 20",
    )


def of_tls(error: Exception, host: str, seconds: float) -> Cause:
    """No TLS."""
    show = f"openssl s_client -starttls postgres -connect {host}:5432"
    if isinstance(error, NoTlsError):
        return Cause(
            "The server offers no TLS, and the address demands it (sslmode).",
            "TLS is switched off in the server (ssl = off), or a pooler in between has none.",
            "ALTER SYSTEM SET ssl = on;\nSELECT pg_reload_conf();",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(
            f"The server's certificate is not trusted: {error.verify_message}",
            "It is of another authority than sslrootcert names, has run out, or is for another "
            "name than the address has.",
            show,
        )
    if isinstance(error, TimeoutError):
        return Cause(
            f"The port accepts connections, and nothing answers within {seconds:g} s.",
            "It is no PostgreSQL server, its machine hangs, or it has too much to do.",
            show,
        )
    if isinstance(error, NotPostgresError):
        return Cause(
            "What answers does not speak PostgreSQL's protocol.",
            "Another program listens on that port.",
            show,
        )
    if isinstance(error, ConnectionResetError):
        return Cause(
            "The server hung up when it was asked for TLS.",
            "A proxy in between has no server behind it, or the server is starting or stopping.",
            show,
        )
    return Cause(
        f"TLS could not be agreed upon ({_one_line(str(error))}).",
        "Server and client have no version or cipher in common, a file of sslcert, sslkey or "
        "sslrootcert can't be read, or the server wants a client's certificate.",
        show,
    )


def of_silence(seconds: float) -> Cause:
    """Connected, and no answer."""
    return Cause(
        f"The server took the connection, and did not answer within {seconds:g} s.",
        "Its machine or its disk hangs, it is no PostgreSQL server, or a pooler has no free "
        "connection.",
        "manage.py dblogs",
    )


# What PostgreSQL says when it refuses somebody (lc_messages = C), why, and what to do.
_REFUSALS = (
    (
        r"password authentication failed|no password supplied|SCRAM",
        "The password in the address is not the login's, or there is none.",
        "manage.py provision",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "The server's access list has no line for this login from this address, or none with TLS.",
        "SELECT * FROM pg_hba_file_rules;",
    ),
    (
        r"database .* does not exist",
        "It was not made yet, has another name in the address, or a restore is just replacing it.",
        "manage.py provision",
    ),
    (r"role .* does not exist", "The login was not made yet.", "manage.py provision"),
    (
        r"permission denied for database|is not permitted to log in",
        "The login has no right to enter.",
        "manage.py provision",
    ),
    (
        r"too many (clients|connections)|connection slots",
        "Each connection that the server, the database or the login may have is taken.",
        "manage.py inspect --report traffic",
    ),
    (
        r"starting up|in recovery mode|not accepting connections|not yet accepting",
        "The server is starting, or recovers after a crash; that ends by itself.",
        "manage.py dblogs",
    ),
    (r"shutting down", "The server is being stopped.", "manage.py dblogs"),
    (
        r"closed the connection unexpectedly|Connection reset",
        "A proxy in between has no server behind it, or the server's process crashed.",
        "manage.py dblogs",
    ),
    (
        r"SSL|certificate",
        "Server and address do not agree about TLS.",
        "SELECT * FROM pg_hba_file_rules;",
    ),
)


def of_sign_in(said: str) -> Cause:
    """The server did not let the login in; `said` is libpq's message, which holds no password."""
    what = _one_line(
        re.sub(r"(?s)^connection to server (at|on) .*? failed: (FATAL:\s*)?", "", said)
    )
    for pattern, cause, next_step in _REFUSALS:
        if re.search(pattern, said):
            return Cause(f"{what}.", cause, next_step)
    return Cause(f"{what}.", "The server's log says more.", "manage.py dblogs")


def of_query(said: str) -> Cause:
    """The server let the login in, and does not answer a query."""
    return Cause(
        f"The query failed: {_one_line(said)}.",
        "The server stops or has just ended the session, or a pooler lost its server.",
        "manage.py dblogs",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
