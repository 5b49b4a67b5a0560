"""The throw-away server that the benchmarks share, and the databases on it.

It is the tests' own server, with one difference: production's settings, which sync to disk.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from django.db import connections

from crm.seeding.progress import Silent
from crm.seeding.scales import MILLION, Scale
from ops.postgres import configuration, roles
from ops.postgres.embedded import EmbeddedServer
from tests.harness import database, run

SEED = 1
TODAY = datetime.date(2026, 3, 2)


class Bench:
    """What benchmarks get: a scale, and databases that hold it."""

    def __init__(self, rows: int) -> None:
        accounts = max(1, min(rows, MILLION.customers) * MILLION.accounts // MILLION.customers)
        self.scale: Scale = replace(MILLION, customers=rows, accounts=accounts)
        # The page's peer: one business with as many customers as an average one has.
        self.small_scale: Scale = replace(MILLION, customers=min(rows, 1_000), accounts=1)
        self._loaded: dict[str, str] = {}
        self._open = contextlib.ExitStack()

    def say(self, sentence: str) -> None:
        """Tell the person at the terminal what is going on."""
        print(sentence, file=sys.stderr, flush=True)

    def empty(self, label: str) -> AbstractContextManager[str]:
        """A migrated database without accounts, dropped afterwards."""
        return database.clone(label)

    def large(self) -> str:
        """The database with all rows, loaded once for all benchmarks."""
        return self._load("large", self.scale)

    def small(self) -> str:
        """The database with one account of a thousand customers."""
        return self._load("small", self.small_scale)

    def pointed_at(self, name: str) -> AbstractContextManager[None]:
        """Let Django's two aliases use a database."""
        return database.pointed_at(name)

    @contextmanager
    def connect(self, name: str, login: str) -> Iterator[psycopg.Connection[Any]]:
        """A connection of one of the two logins, with Django's way of sending statements."""
        arguments = {**database.admin(), "dbname": name, "user": login}
        arguments["password"] = database.PASSWORD
        # Like Django: parameters bound by the client, nothing prepared.
        with psycopg.connect(
            **arguments,
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.ClientCursor,
        ) as connection:
            yield connection

    def close(self) -> None:
        """Drop the databases."""
        self._open.close()

    def _load(self, label: str, scale: Scale) -> str:
        from billing.seeding.bulk import load_scale

        if label not in self._loaded:
            name = self._open.enter_context(database.clone(label))
            began = time.monotonic()
            with database.pointed_at(name):
                load_scale(scale, seed=SEED, today=TODAY, progress=Silent())
                # As autovacuum leaves it once the load is over.
                with connections["owner"].cursor() as cursor:
                    cursor.execute("VACUUM (ANALYZE)")
            self.say(
                f"loaded {scale.customers:,} customers of {scale.accounts:,} accounts "
                f"({time.monotonic() - began:.0f} s)"
            )
            self._loaded[label] = name
        return self._loaded[label]


@contextmanager
def throw_away(rows: int) -> Iterator[Bench]:
    """Start a server, and remove it with everything on it afterwards, also after Ctrl-C."""
    run.remove_stale_runs()
    server = EmbeddedServer(run.folder() / "postgres", settings=configuration.DURABLE)
    bench = Bench(rows)
    try:
        server.start()
        bench.say("started a throw-away PostgreSQL with production's settings")
        yield bench
    finally:
        connections.close_all()
        with contextlib.suppress(psycopg.Error):  # the server may be what failed
            bench.close()
        shutil.rmtree(run.folder() / "files", ignore_errors=True)
        run.clean_up()


MEMBER, ADMIN, APP, OWNER = roles.MEMBER, roles.ADMIN, roles.APP, roles.OWNER
