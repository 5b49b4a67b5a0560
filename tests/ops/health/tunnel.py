"""A way to the tests' server over TCP, which itself listens on a unix socket alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.harness import database

# Not of the loopback network by its number, and yet this machine: what comes in there is remote,
# as far as a client can tell.
ELSEWHERE = "0.0.0.0"  # noqa: S104 (nothing listens on it but for a test's length)


@contextmanager
def tunnel(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port of which each connection goes on to the server's socket, byte by byte."""
    arguments = database.admin()
    path = f"{arguments['host']}/.s.PGSQL.{arguments.get('port', 5432)}"
    opened: list[socket.socket] = []
    with socket.create_server((host, 0)) as listening:
        port = listening.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                server = socket.socket(socket.AF_UNIX)
                server.connect(path)
                opened.extend((client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield port
        finally:
            # Closing alone would leave the thread in accept().
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in opened:
                each.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
