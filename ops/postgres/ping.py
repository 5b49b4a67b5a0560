"""How long each step of a connection takes, and at which step it fails: name, network, TLS,
sign-in, query.

Name, network and TLS are tried on a connection of their own, because libpq does all at once; the
sign-in is timed on a second one (`pingsession`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from psycopg import pq
from psycopg.conninfo import make_conninfo

from ops.postgres import pingcauses
from ops.postgres.endpoint import Endpoint
from ops.postgres.pingcauses import Cause, PingFailure
from ops.postgres.pingsession import Session
from ops.postgres.pingtls import Tls

SECONDS = 5.0  # a step may take, unless somebody says otherwise
_APPLICATION = "srvc dbping"


class Step(StrEnum):
    """One step, in the order in which they are taken. A unix socket has neither DNS nor TLS."""

    DNS = "dns"
    TCP = "tcp"
    SOCKET = "socket"
    TLS = "tls"
    AUTH = "auth"
    QUERY = "query"

    @property
    def label(self) -> str:
        """As people write it."""
        return self.value.upper() if self in {Step.DNS, Step.TCP, Step.TLS} else self.value


@dataclass(frozen=True)
class Failure:
    """The step that failed, why that usually is, and what to do."""

    step: Step
    cause: Cause


@dataclass
class Ping:
    """One try: what each step took, in seconds, and where it ended."""

    took: dict[Step, float] = field(default_factory=dict)
    failure: Failure | None = None
    encrypted: str = ""  # TLS's version; "" in clear


@dataclass(frozen=True)
class _Target:
    """One of the servers that an address names."""

    host: str
    port: str
    address: str  # libpq's hostaddr: no name has to be asked for

    @property
    def is_socket(self) -> bool:
        return not self.address and self.host.startswith(("/", "@"))


def ping(endpoint: Endpoint, seconds: float = SECONDS) -> Ping:
    """Try each step of one connection; `seconds` is what a step may take.

    Of an address with several servers, the first that answers is told, or else how the last failed.
    """
    done = Ping()
    for target in _targets(endpoint):
        done = _ping(endpoint, target, seconds)
        if done.failure is None:
            break
    return done


def _ping(endpoint: Endpoint, target: _Target, seconds: float) -> Ping:
    done = Ping()
    pinned = target.address
    try:
        if target.is_socket:
            with _step(done, Step.SOCKET):
                _connect_to_socket(target, seconds).close()
        elif target.host or target.address:
            pinned = _reach(endpoint, target, seconds, done)
        address = _address(endpoint, target, pinned)
        with closing(Session(address, seconds)) as session:
            with _step(done, Step.AUTH):
                took = session.sign_in()
            done.took[Step.AUTH] = took
            with _step(done, Step.QUERY):
                session.ask("IDENTIFY_SYSTEM" if endpoint.is_replication else "SELECT 1")
    except PingFailure:
        pass  # it is in `done`
    return done


@contextmanager
def _step(done: Ping, step: Step) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    except PingFailure as error:
        done.failure = Failure(step, error.cause)
        raise
    done.took[step] = time.perf_counter() - began


def _targets(endpoint: Endpoint) -> list[_Target]:
    """The servers of an address, which may be lists, with what libpq adds of its own."""
    hosts = (endpoint.host or _default("host")).split(",")
    addresses = endpoint.options.get("hostaddr", "").split(",")
    ports = (endpoint.port or _default("port") or "5432").split(",")
    number = max(len(hosts), len(addresses))

    def nth(values: list[str], index: int) -> str:
        return values[index] if index < len(values) else values[0]

    return [
        _Target(nth(hosts, index), nth(ports, index) or "5432", nth(addresses, index))
        for index in range(number)
    ]


def _default(keyword: str) -> str:
    """What libpq takes from its environment or from how it was built."""
    for option in pq.Conninfo.get_defaults():
        if option.keyword.decode() == keyword:
            return (option.val or option.compiled or b"").decode()
    return ""


def _address(endpoint: Endpoint, target: _Target, pinned: str) -> str:
    """The address of one server as libpq has it, without a name to be asked for again."""
    values = {
        "host": target.host,
        "port": target.port,
        "user": endpoint.user,
        "dbname": endpoint.database,
        **endpoint.options,
        "hostaddr": pinned,
        "password": endpoint.password,
        "application_name": _APPLICATION,
    }
    return make_conninfo("", **{name: value for name, value in values.items() if value})


# --- name, network, TLS --------------------------------------------------------------------------


def _reach(endpoint: Endpoint, target: _Target, seconds: float, done: Ping) -> str:
    """Take the steps up to TLS; return the address that answered."""
    with _step(done, Step.DNS):
        found = _resolve(target, seconds)
    with _step(done, Step.TCP):
        connection, address = _connect(found, target, seconds)
    tls = Tls.of(endpoint, target.host or address, _default)
    try:
        if tls.is_tried:
            with _step(done, Step.TLS):
                try:
                    done.encrypted = tls.shake_hands(connection, seconds)
                except (OSError, ValueError) as error:
                    raise PingFailure(pingcauses.of_tls(error, target.host, seconds)) from None
            if not done.encrypted:
                del done.took[Step.TLS]
    finally:
        connection.close()
    return address


def _resolve(target: _Target, seconds: float) -> list[Any]:
    def ask() -> list[Any]:
        return socket.getaddrinfo(
            target.address or target.host, int(target.port), type=socket.SOCK_STREAM
        )

    try:
        return _within(ask, seconds)
    except TimeoutError:
        raise PingFailure(pingcauses.of_slow_names(target.host, seconds)) from None
    except (OSError, ValueError) as error:  # a port that is none, a name too long for any
        raise PingFailure(pingcauses.of_name(target.host, error)) from None


def _within[T](work: Callable[[], T], seconds: float) -> T:
    """Asking for a name has no time limit and can't be interrupted; waiting for a thread can."""
    found: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 (raised where it was asked for)
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _connect(found: list[Any], target: _Target, seconds: float) -> tuple[socket.socket, str]:
    """Connect to the first address of a name that answers."""
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection, str(address[0])
    raise PingFailure(pingcauses.of_network(failure, target.host, target.port, seconds))


def _connect_to_socket(target: _Target, seconds: float) -> socket.socket:
    path = f"{target.host}/.s.PGSQL.{target.port}"
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(f"\0{path[1:]}" if path.startswith("@") else path)
    except OSError as error:
        connection.close()
        raise PingFailure(pingcauses.of_socket(error, path)) from None
    return connection
