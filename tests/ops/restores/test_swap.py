"""One database takes another's place: clients come back to the new one, or nothing has changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ops.errors import OpsError
from ops.postgres import roles, server, swapping
from ops.postgres.endpoint import Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.progress import Counter
from ops.restores.complete.closing import is_closed, writes_closed
from ops.restores.complete.swap import reopen_if_closed, swap
from srvc.environment import BASE_DIR
from tests.harness import database


@dataclass
class Pair:
    """A live database and one beside it, told apart by what is in their one table."""

    live: str
    beside: str
    kept: str
    endpoint: Endpoint

    def swap(self, **choices: Any) -> list[str]:
        return swap(self.live, self.beside, self.kept, endpoint=self.endpoint, **choices)

    def which(self, name: str) -> str:
        with database.connect(name) as connection:
            row = connection.execute("SELECT name FROM which").fetchone()
        assert row is not None
        return str(row[0])

    def is_open(self, name: str) -> bool | None:
        with database.connect() as connection:
            row = connection.execute(
                "SELECT datallowconn FROM pg_database WHERE datname = %s", [name]
            ).fetchone()
        return row and row[0]

    def require_untouched(self) -> None:
        assert (self.is_open(self.live), self.which(self.live)) == (True, "old")
        assert (self.is_open(self.beside), self.which(self.beside)) == (True, "new")
        assert self.is_open(self.kept) is None

    def require_swapped(self) -> None:
        assert (self.is_open(self.live), self.which(self.live)) == (True, "new")
        assert self.is_open(self.beside) is None
        assert self.is_open(self.kept) is False


@pytest.fixture
def pair(fresh_database: str) -> Pair:
    live = fresh_database
    made = Pair(live, f"{live}_restore_1", f"{live}_before_1", Endpoint.of("owner"))
    with made.endpoint.at(MAINTENANCE_DATABASE).connect() as connection:
        server.create_from_template(
            connection, made.beside, roles.template_of(live), owner=roles.OWNER
        )
    for name, text in ((live, "old"), (made.beside, "new")):
        with made.endpoint.at(name).connect() as connection:
            connection.execute("CREATE TABLE which (name text)")
            connection.execute("INSERT INTO which VALUES (%s)", [text])
            connection.execute("GRANT SELECT ON which TO srvc_app")
    return made


@dataclass
class Clients:
    """Threads that ask in a loop which database they are in, and connect again when it ends."""

    live: str
    seen: list[list[str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self, number: int) -> Iterator[None]:
        self.seen = [[] for _ in range(number)]
        threads = [threading.Thread(target=self._ask, args=(seen,)) for seen in self.seen]
        for thread in threads:
            thread.start()
        try:
            self.wait_for("old")
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join(timeout=30)
                assert not thread.is_alive(), "a client is stuck"

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while not all(name in seen for seen in self.seen):
            assert time.monotonic() < deadline, f"not everybody saw the {name} database"
            time.sleep(0.01)

    def _ask(self, seen: list[str]) -> None:
        while not self.ended.is_set():
            try:
                with psycopg.connect(
                    database.url(roles.APP, self.live), autocommit=True
                ) as connection:
                    while not self.ended.is_set():
                        row = connection.execute("SELECT string_agg(name, '+') FROM which")
                        seen.append(row.fetchone()[0])  # type: ignore[index]
            except psycopg.OperationalError:
                time.sleep(0.005)


def test_clients_that_keep_coming_find_the_new_one_and_never_a_mixture(pair: Pair) -> None:
    clients = Clients(pair.live)
    with clients.asking(8):
        assert pair.swap(guarded=False) == []
        clients.wait_for("new")
    for seen in clients.seen:
        assert set(seen) == {"old", "new"}
        assert sorted(seen, reverse=True) == seen, "somebody went back to the old one"
    pair.require_swapped()


_PROPERTIES = (
    """SELECT pg_get_userbyid(datdba), datconnlimit, encoding, datcollate,
       shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s""",
    """SELECT a.grantee::regrole::text, privilege_type FROM pg_database, aclexplode(datacl) a
       WHERE datname = %s ORDER BY 1, 2""",
    """SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting
       JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s ORDER BY 1""",
)


def test_the_new_one_has_the_properties_that_the_live_one_had(pair: Pair) -> None:
    def properties(name: str) -> list[Any]:
        with database.connect() as connection:
            return [connection.execute(each, [name]).fetchall() for each in _PROPERTIES]

    with database.connect() as connection:
        for change in (
            "COMMENT ON DATABASE {} IS 'the shop''s own'",
            "ALTER DATABASE {} CONNECTION LIMIT 77",
            "ALTER DATABASE {} SET search_path TO public, extra",
            "ALTER DATABASE {} SET app.colour TO 'blue'",
            "ALTER DATABASE {} SET log_min_duration_statement TO '3s'",
            "ALTER ROLE srvc_app IN DATABASE {} SET statement_timeout TO '7s'",
        ):
            connection.execute(sql.SQL(change).format(sql.Identifier(pair.live)))
    before = properties(pair.live)
    refused = pair.swap(guarded=False)
    # What only a superuser may set is told, with what sets it again.
    assert [each.partition("as a superuser run: ")[2] for each in refused] == [
        f'ALTER DATABASE "{pair.live}" SET "app"."colour" = \'blue\';',
        f'ALTER DATABASE "{pair.live}" SET "log_min_duration_statement" = \'3s\';',
        f'ALTER ROLE "srvc_app" IN DATABASE "{pair.live}" SET "statement_timeout" = \'7s\';',
    ]
    with database.connect() as connection:
        for each in refused:
            connection.execute(each.partition("run: ")[2].encode())
    assert properties(pair.live) == before


def test_an_administrator_takes_over_what_a_superuser_had_set(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect() as connection:
        change = "ALTER DATABASE {} SET log_min_duration_statement TO '3s'"
        connection.execute(sql.SQL(change).format(sql.Identifier(pair.live)))
    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))
    assert pair.swap(guarded=False) == []
    with database.connect() as connection:
        rows = connection.execute(_PROPERTIES[-1].encode(), [pair.live]).fetchall()
    assert any("log_min_duration_statement=3s" in setting for _, setting in rows)


@pytest.mark.parametrize("where", ["live", "beside"])
def test_what_cannot_be_swapped_is_refused_before_anybody_is_disconnected(
    pair: Pair, where: str
) -> None:
    name = pair.live if where == "live" else pair.beside
    with (
        closing(database.connect(name)) as admin,
        closing(psycopg.connect(database.url(roles.APP, pair.live))) as client,
    ):
        with pytest.raises(OpsError) as refusal:
            pair.swap(guarded=False)
        assert str(refusal.value) == (
            f"{pair.beside} did not take the place of {pair.live}: process "
            f"{admin.info.backend_pid} of the superuser postgres is connected to {name}, and only "
            f"a superuser may end it. {pair.live} is as it was, and what users wrote is in it. Run "
            "this again when that is mended."
        )
        client.execute("SELECT 1")
    pair.require_untouched()


def test_a_name_that_is_taken_changes_nothing(pair: Pair) -> None:
    with (
        closing(psycopg.connect(database.url(roles.APP, pair.live))) as client,
        pytest.raises(OpsError, match=f"there is a database {pair.live}_template already"),
    ):
        swap(pair.live, pair.beside, f"{pair.live}_template", endpoint=pair.endpoint, guarded=False)
    client.close()
    pair.require_untouched()


def test_without_closed_writes_nothing_is_swapped(pair: Pair) -> None:
    with pytest.raises(OpsError, match="writes are not closed any more"):
        pair.swap()
    pair.require_untouched()
    # As when the session that held the lock was ended in the middle.
    with writes_closed("a test", Counter()):
        with database.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'srvc closing: a test' AND datname = %s",
                [pair.live],
            )
        with pytest.raises(OpsError, match="writes are not closed any more"):
            pair.swap()
    pair.require_untouched()
    with writes_closed("a test", Counter()):
        assert pair.swap() == []
    pair.require_swapped()
    assert not is_closed()


_SWAPPING = """
import sys, psycopg
from ops.postgres import swapping
name = f"the swap of {sys.argv[2]}"
with psycopg.connect(sys.argv[1], autocommit=True, application_name=name) as connection:
    print("ready", flush=True)
    sys.stdin.readline()
    swapping.exchange(connection, *sys.argv[2:5], kept_mark="kept", seconds=float(sys.argv[5]))
"""


def _swapper(pair: Pair) -> str:
    """What the session is called: other tests swap on the same server."""
    return f"the swap of {pair.live}"


@contextmanager
def swapping_process(pair: Pair, seconds: float = 10) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that swaps when it is told to, and can be killed."""
    address = database.url(roles.OWNER, MAINTENANCE_DATABASE)
    with subprocess.Popen(
        [sys.executable, "-c", _SWAPPING, address, pair.live, pair.beside, pair.kept, str(seconds)],
        cwd=BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def wait_until_nobody_swaps(pair: Pair) -> None:
    deadline = time.monotonic() + 30
    with database.connect() as connection:
        while connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [_swapper(pair)]
        ).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("after", [0.0, 0.002, 0.005, 0.01, 0.02])
def test_killed_at_any_point_it_is_finished_or_was_never_begun(pair: Pair, after: float) -> None:
    with swapping_process(pair) as process:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
    wait_until_nobody_swaps(pair)
    reopen_if_closed(pair.endpoint)
    (pair.require_swapped if pair.is_open(pair.kept) is not None else pair.require_untouched)()


@contextmanager
def a_session_that_does_not_end(name: str) -> Iterator[int]:
    """A stopped process of the server: it is asked to end, and can't."""
    connection = psycopg.connect(database.url(roles.APP, name), autocommit=True)
    pid = connection.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)
        connection.close()


def wait_until_closed(pair: Pair) -> None:
    deadline = time.monotonic() + 30
    while pair.is_open(pair.live):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_session_that_does_not_end_is_named_and_the_database_is_open_again(pair: Pair) -> None:
    with a_session_that_does_not_end(pair.live) as pid, swapping_process(pair, 0.3) as process:
        _, error = process.communicate("\n", timeout=30)
        assert f"these sessions did not end: process {pid} (srvc_app)" in error
    pair.require_untouched()


@pytest.mark.parametrize("how", ["pg_cancel_backend", "killed"])
def test_interrupted_while_sessions_end_it_takes_everything_back(pair: Pair, how: str) -> None:
    with a_session_that_does_not_end(pair.live), swapping_process(pair, 0.5) as process:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until_closed(pair)
        if how == "killed":
            os.kill(process.pid, signal.SIGKILL)
        else:
            with database.connect() as connection:
                connection.execute(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = %s",
                    [_swapper(pair)],
                )
            process.wait(timeout=30)
        wait_until_nobody_swaps(pair)
    assert not reopen_if_closed(pair.endpoint), "nothing was left to do"
    pair.require_untouched()


def test_a_server_that_stops_in_the_middle_leaves_what_the_next_run_opens(pair: Pair) -> None:
    with a_session_that_does_not_end(pair.live), swapping_process(pair, 60) as process:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until_closed(pair)
        # Somebody else's swap is left alone.
        assert not reopen_if_closed(pair.endpoint)
        assert pair.is_open(pair.live) is False
        with database.connect() as connection:
            # What a crash does, to this one process of the server alone.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                [_swapper(pair)],
            )
        wait_until_nobody_swaps(pair)
    assert pair.is_open(pair.live) is False
    assert reopen_if_closed(pair.endpoint)
    pair.require_untouched()
    assert not reopen_if_closed(pair.endpoint)
    with database.connect() as connection:
        left = connection.execute(
            "SELECT FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE %s",
            [f"{swapping._MARK}{pair.live}%"],
        ).fetchall()
    assert left == []
