"""How long clients wait while a restored database takes the live one's place, at two sizes.

Twenty clients ask for a row in a loop and connect again whenever they are disconnected; a wait is
the time between two answers. Ours is the whole last step: writes closed, the record of operations
carried along, the swap. The peer is `pg_restore --clean` into the live database, as one restores
without a second one: its clients find the tables gone, or locked, until it is over.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.result import Result
from benchmarks.server import OWNER, Bench

if TYPE_CHECKING:
    from ops.postgres.endpoint import Endpoint

ROUNDS = 5
CLIENTS = 20
_AT_MOST = 0.5  # seconds
_PAUSE = 0.005  # seconds between two questions
_AGAIN = 0.02  # seconds between two tries to connect
_PEER = "pg_restore --clean in place"


def run(bench: Bench) -> list[Result]:
    """The longest wait of any client, in seconds, for a small and for a large database."""
    from tests.harness import database
    from tests.harness import run as harness

    results = []
    for label, source in (("small", bench.small()), ("large", bench.large())):
        live, folder = f"{source}_live", harness.folder() / "files"
        folder.mkdir(exist_ok=True)
        with _clone(source, live):
            database.provide_template(live)
            with bench.pointed_at(live):
                waits = [wait for turn in range(ROUNDS) for wait in _swap(source, live, turn)]
        with _clone(source, live), bench.pointed_at(live):
            theirs = _restore_in_place(live, folder / "swap.dump")
        worst, median = max(waits), statistics.median(waits)
        results.append(
            Result(
                f"swap of a {label} database, longest wait of {CLIENTS} clients in s",
                _PEER,
                f"{worst:.3f} s (median {median:.3f} s)",
                f"{max(theirs):.1f} s",
                worst,
                f"<= {_AT_MOST}",
            )
        )
    return results


@dataclass
class _Clients:
    """Who asks all the time, and how long each waited for an answer at most."""

    url: str
    waits: list[float] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _first: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for _ in threads:
            self._first.acquire()
        try:
            yield
        finally:
            time.sleep(0.3)  # until everybody is back
            self._ended.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        answered, longest = 0.0, 0.0
        while not self._ended.is_set() or not answered:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self._ended.is_set():
                        if connection.execute("SELECT 1 FROM customers LIMIT 1").fetchone():
                            now = time.perf_counter()
                            longest = max(longest, now - (answered or now))
                            if not answered:
                                self._first.release()
                            answered = now
                        time.sleep(_PAUSE)
            except psycopg.Error:
                time.sleep(_AGAIN)
        self.waits.append(max(longest, time.perf_counter() - answered))


@contextmanager
def _clone(source: str, name: str) -> Iterator[None]:
    from ops.postgres import server
    from tests.harness import database

    with database.connect() as connection:
        server.clone_database(connection, source, name)
    try:
        yield
    finally:
        database.drop_with_prefix(name)


def _swap(source: str, live: str, turn: int) -> list[float]:
    from ops.postgres import server
    from ops.postgres.endpoint import Endpoint
    from ops.progress import Counter
    from ops.restores.complete.closing import writes_closed
    from ops.restores.complete.swap import take_the_place
    from tests.harness import database

    beside, endpoint = f"{live}_restore_{turn}", Endpoint.of("owner")
    with database.connect() as connection:
        server.clone_database(connection, source, beside)
    clients = _Clients(database.url(OWNER, live))
    with clients.asking(), writes_closed("a benchmark", Counter(), endpoint=endpoint):
        take_the_place(
            live,
            beside,
            f"{live}_before_{turn}",
            endpoint=endpoint,
            progress=Counter(),
            record=lambda connection: None,
        )
    with database.connect() as connection:
        server.drop_database(connection, f"{live}_before_{turn}")
    return clients.waits


def _restore_in_place(live: str, file: Path) -> list[float]:
    from ops.postgres.endpoint import Endpoint
    from tests.harness import database

    endpoint = Endpoint.of("owner")
    _run(endpoint, "pg_dump", "--format=custom", "--compress=0", f"--file={file}")
    clients = _Clients(database.url(OWNER, live))
    try:
        with clients.asking():
            _run(endpoint, "pg_restore", "--clean", "--if-exists", "--jobs=2", str(file))
    finally:
        file.unlink()
    return clients.waits


def _run(endpoint: Endpoint, program: str, *arguments: str) -> None:
    # Extensions and the schema belong to who provisioned them: their errors change nothing.
    subprocess.run(
        [endpoint.program(program), *endpoint.arguments(), "--no-password", *arguments],
        env=endpoint.environment(),
        check=program == "pg_dump",
        capture_output=True,
    )
