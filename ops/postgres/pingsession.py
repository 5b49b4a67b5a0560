"""The sign-in and the query of a ping, by libpq step by step, so that each is timed and none hangs.

The sign-in is timed from when libpq has sent who it is: before that it goes through the network and
TLS once more.
"""

from __future__ import annotations

import select
import time

from psycopg import pq
from psycopg.pq.abc import PGconn

from ops.postgres import pingcauses
from ops.postgres.pingcauses import PingFailure

_Status, _Polling = pq.ConnStatus, pq.PollingStatus
# Before libpq has told the server who asks.
_EARLY = {_Status.STARTED, _Status.MADE, _Status.SSL_STARTUP, _Status.GSS_STARTUP, _Status.NEEDED}


class Session:
    """One connection; `seconds` is what the sign-in and the query may take each."""

    def __init__(self, address: str, seconds: float) -> None:
        self._seconds = seconds
        self._connection: PGconn = pq.PGconn.connect_start(address.encode())

    def sign_in(self) -> float:
        """Sign in; return how many seconds that took. Raises PingFailure."""
        connection, deadline = self._connection, time.monotonic() + self._seconds
        told: float | None = None
        polled: int = _Polling.WRITING
        while connection.status != _Status.BAD and polled != _Polling.OK:
            self._wait(deadline, writes=polled == _Polling.WRITING)
            polled = connection.connect_poll()
            if connection.status in _EARLY:
                told = None  # refused by TLS, libpq may come again in clear
            elif told is None:
                told = time.perf_counter()
            if polled == _Polling.FAILED:
                break
        if connection.status != _Status.OK or told is None:
            raise PingFailure(pingcauses.of_sign_in(connection.get_error_message()))
        return time.perf_counter() - told

    def ask(self, query: str) -> None:
        """Run a query that returns rows. Raises PingFailure."""
        connection, deadline = self._connection, time.monotonic() + self._seconds
        connection.send_query(query.encode())
        while connection.is_busy():
            self._wait(deadline, writes=False)
            connection.consume_input()
        result = connection.get_result()
        if result is None or result.status != pq.ExecStatus.TUPLES_OK:
            said = result.get_error_message() if result else connection.get_error_message()
            raise PingFailure(pingcauses.of_query(said))

    def close(self) -> None:
        """Hang up."""
        self._connection.finish()

    def _wait(self, deadline: float, *, writes: bool) -> None:
        """Wait until the connection can go on. Raises PingFailure when the time is over."""
        wanted = [self._connection.socket]
        left = max(0.0, deadline - time.monotonic())
        ready = select.select([] if writes else wanted, wanted if writes else [], [], left)
        if not any(ready):
            raise PingFailure(pingcauses.of_silence(self._seconds))
