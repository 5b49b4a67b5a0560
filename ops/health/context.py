"""What a check is given: a connection that can only read, the catalogue, thresholds, memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

import psycopg

from ops.health.catalogue import Catalogue
from ops.health.contract import BlindError, Blindness, several
from ops.health.marking import marked
from ops.health.quoting import quoted
from ops.health.steps import as_superuser, granting
from ops.health.thresholds import Thresholds
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.roles import APP, REQUEST_ROLES
from ops.postgres.server import ServerFacts, facts

APPLICATION = "srvc health"
# A table that somebody locks is not waited for. A login that policies would hide rows from is told
# so by an error: no rows would read as healthy.
_SETTINGS = """
    SET LOCAL lock_timeout = '1s'; SET LOCAL timezone = 'UTC'; SET LOCAL search_path = public;
    SET LOCAL row_security = off; SET LOCAL idle_in_transaction_session_timeout = 0
"""
_INTERRUPT = 5.0  # seconds to reach the server, which is to end a statement


class _Marking(psycopg.Cursor[tuple[Any, ...]]):
    """Marks queries as a check's own, so that looking is not told about as work."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Run a query, marked."""
        return super().execute(marked(query), params, **how)


@dataclass
class _Read:
    """What was read for all checks of a run."""

    kept: dict[Callable[[Context], Any], Any] = field(default_factory=dict)
    # Held while something is read: what two threads want at once is read by one of them. The same
    # thread may hold it twice, for one thing is read out of another.
    lock: threading.RLock = field(default_factory=threading.RLock)


class Context:
    """One run's way of looking; a check uses it within `asking`."""

    def __init__(
        self,
        endpoint: Endpoint,
        now: datetime,
        *,
        limits: Thresholds | None = None,
        deep: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.now = now
        self.limits = limits or Thresholds.of_settings()
        # Whether everything is to be looked at, however long it takes; otherwise checks that read
        # much stop after a while, remember where, and go on next time.
        self.deep = deep
        # What the check that is running now keeps for its next run; JSON.
        self.memory: dict[str, Any] = {}
        self.blindnesses: list[Blindness] = []
        self._read = _Read()
        self._connection: Connection | None = None

    def twin(self) -> Context:
        """Return another for the same run, with a connection of its own, for another thread.

        What one of them has read for all checks the other has read, too.
        """
        other = Context(self.endpoint, self.now, limits=self.limits, deep=self.deep)
        other._read = self._read
        return other

    @property
    def connection(self) -> Connection:
        """The connection, in a transaction that can only read while a check runs."""
        if self._connection is None or self._connection.closed:
            self._connection = self.endpoint.connect(
                application_name=APPLICATION, cursor_factory=_Marking
            )
            # What another server or another state said of itself is not believed.
            self.__dict__.pop("facts", None)
        return self._connection

    def rows(self, query: Any, params: Any = None) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(query, params).fetchall()

    def ask(self, rows: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a QuerySet of values_list, asked by this connection and its limits."""
        return self.rows(*rows.query.sql_with_params())

    def one(self, query: Any, params: Any = None) -> tuple[Any, ...]:
        """Return the only row of a query that always has one."""
        row = self.connection.execute(query, params).fetchone()
        assert row is not None
        return row

    def value(self, query: Any, params: Any = None) -> Any:
        """Return the first column of the only row."""
        return self.one(query, params)[0]

    @cached_property
    def facts(self) -> ServerFacts:
        """What the server is."""
        return facts(self.connection)

    @property
    def catalogue(self) -> Catalogue:
        """Tables, indexes and references, read once for all checks.

        A check that uses it is told to be blind for tables that another session had locked.
        """
        catalogue = self.once(_catalogue)
        if locked := catalogue.locked:
            self.blind(f"Another session has locked {several(locked)}, which was not waited for.")
        return catalogue

    def once[T](self, read: Callable[[Context], T]) -> T:
        """Return what a function reads, read once for all checks of the run."""
        with self._read.lock:
            if read not in self._read.kept:
                self._read.kept[read] = read(self)
            found: T = self._read.kept[read]
        return found

    @cached_property
    def sees_all_statistics(self) -> bool:
        """Whether the login may see other sessions' work and all statistics (pg_monitor)."""
        return bool(self.value("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"))

    def require_statistics(self, what: str) -> None:
        """Raise BlindError, which says how to allow it, when others' sessions can't be seen."""
        if not self.sees_all_statistics:
            raise BlindError(
                f"{what} can't be seen by {self.facts.role}.",
                granting(self.facts.role, "pg_monitor"),
            )

    @property
    def past_row_security(self) -> str:
        """The SQL that lets the login see past row security; "" where it does, or must not."""
        role = self.facts.role
        if role in {APP, *REQUEST_ROLES}:
            return ""
        sees = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s"
        if self.rows(sees, [role]) == [(True,)]:
            return ""
        return as_superuser(f"ALTER ROLE {quoted(role)} BYPASSRLS;")

    def setting(self, name: str) -> str:
        """Return a setting of the server's; raise BlindError when the login may not see it.

        Some are for superusers and pg_read_all_settings: without that they seem not to exist.
        """
        row = self.connection.execute(
            "SELECT setting FROM pg_settings WHERE name = %s", [name]
        ).fetchone()
        if row is None:
            raise BlindError(
                f"The server's setting {name} can't be seen by {self.facts.role}.",
                granting(self.facts.role, "pg_monitor"),
            )
        return str(row[0])

    def blind(self, what: str, allow: str = "") -> None:
        """Tell that part of what the check is about could not be seen; the rest is reported."""
        if (told := Blindness(what, allow)) not in self.blindnesses:
            self.blindnesses.append(told)

    @contextmanager
    def asking(self, limit: float, memory: dict[str, Any]) -> Iterator[None]:
        """Run one check in a transaction of its own that only reads; `limit` is in seconds.

        Locks it takes (ACCESS SHARE alone) end with it, and an error of one check is not another's.
        """
        self.memory, self.blindnesses = memory, []
        connection = self.connection
        try:
            # One message: there are eighty checks. Within the transaction, so that a pooler in
            # between changes nothing.
            connection.execute(
                f"BEGIN READ ONLY; {_SETTINGS};"
                f" SET LOCAL statement_timeout = {_milliseconds(limit)}"
            )
            yield
            connection.rollback()  # there is nothing to keep, and the settings go with it
        except BaseException:
            with suppress(psycopg.Error):
                connection.rollback()
            if connection.broken:
                self.close()
            raise

    @contextmanager
    def alone(self, memory: dict[str, Any]) -> Iterator[None]:
        """Run one check that connects by itself: the server may be away."""
        self.memory, self.blindnesses = memory, []
        yield

    def limit(self, seconds: float) -> None:
        """Give each statement from now on so many seconds, until the check ends."""
        self.connection.execute(
            "SELECT set_config('statement_timeout', %s, true)", [str(_milliseconds(seconds))]
        )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Run part of a check so that its failure leaves the rest of the check usable."""
        with self.connection.transaction():
            yield

    def interrupt(self) -> None:
        """Let the statement that another thread waits for end with an error."""
        if (connection := self._connection) is not None:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=_INTERRUPT)

    def close(self) -> None:
        """Let go of the connection; the next check opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


def _catalogue(context: Context) -> Catalogue:
    return Catalogue.read(context.connection)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))  # 0 would be no limit at all


def within[T](seconds: float, work: Callable[[], T], what: str) -> T:
    """Return what the work returns, or raise BlindError when it takes longer.

    For what has no time limit of its own: a hung disk answers never. The thread is left behind; it
    ends with the disk's answer or with the process.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 (raised where it was asked for)
            failed.append(error)

    thread = threading.Thread(target=run, name=f"health: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise BlindError(f"{what} did not answer within {seconds:g} s.")
    return found[0]


def names(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return the first column as text."""
    return [str(row[0]) for row in rows]
