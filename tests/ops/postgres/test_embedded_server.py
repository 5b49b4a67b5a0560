"""The embedded PostgreSQL: how it is made, found running, recovered and stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer, Started
from ops.postgres.errors import ServerError


def connect(server: EmbeddedServer) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(**server.connection, autocommit=True)


def postmaster(server: EmbeddedServer) -> int:
    return int((server.home / "postmaster.pid").read_text().split("\n", 1)[0])


def test_it_keeps_data_as_backups_and_health_checks_need_it(scratch: Path) -> None:
    server = EmbeddedServer(scratch / "postgres")
    try:
        assert server.start() is Started.CREATED
        wanted = {
            "data_checksums": "on",
            "fsync": "on",
            "listen_addresses": "",
            "password_encryption": "scram-sha-256",
            "server_encoding": "UTF8",
            "shared_preload_libraries": "pg_stat_statements",
            "summarize_wal": "on",
            "track_io_timing": "on",
            "wal_level": "replica",
        }
        with connect(server) as connection:
            found = {
                name: connection.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
                for name in wanted
            }
        assert found == wanted
    finally:
        server.destroy()


def test_a_second_start_uses_the_running_server_and_says_so(embedded: EmbeddedServer) -> None:
    embedded.start()
    first = postmaster(embedded)
    said: list[str] = []
    again = EmbeddedServer(
        embedded.data_directory, settings=configuration.THROW_AWAY, say=said.append
    )
    assert again.start() is Started.REUSED
    assert postmaster(again) == first
    assert said[-1] == (
        f"PostgreSQL (process {first}) was already running on this data directory and is used as "
        "it is"
    )


def test_after_kill_9_it_recovers_what_was_committed(scratch: Path) -> None:
    server = EmbeddedServer(scratch / "postgres")  # durable, as in production
    try:
        server.start()
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        os.kill(postmaster(server), signal.SIGKILL)
        assert server.start() is Started.RECOVERED
        with connect(server) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    finally:
        server.destroy()


def test_a_pid_file_whose_number_now_belongs_to_another_program_does_not_lock_it(
    embedded: EmbeddedServer,
) -> None:
    embedded.start()
    pid_file = (embedded.home / "postmaster.pid").read_text()
    embedded.stop()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lines = pid_file.splitlines(keepends=True)
        (embedded.home / "postmaster.pid").write_text(f"{stranger.pid}\n" + "".join(lines[1:]))
        assert embedded.start() is Started.RECOVERED
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_interrupted_initdb_is_started_over(embedded: EmbeddedServer) -> None:
    partial = embedded.home.with_name("postgres-partial")
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    assert embedded.start() is Started.CREATED
    assert not partial.exists()


def test_data_of_another_major_version_is_refused_and_left_alone(embedded: EmbeddedServer) -> None:
    embedded.start()
    embedded.stop()
    (embedded.home / "PG_VERSION").write_text("16\n")
    before = sorted(path.name for path in embedded.home.iterdir())
    with pytest.raises(ServerError) as refusal:
        embedded.start()
    assert str(refusal.value) == (
        f"The data in {embedded.home} was written by PostgreSQL 16, and SRVC ships 18. Nothing was "
        "changed. Dump it with PostgreSQL 16, move the folder aside, run this again and restore "
        "the dump."
    )
    assert sorted(path.name for path in embedded.home.iterdir()) == before


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(
    embedded: EmbeddedServer,
) -> None:
    embedded.home.mkdir()
    (embedded.home / "letters.txt").write_text("dear customer")
    with pytest.raises(ServerError, match="is not empty and is no PostgreSQL data directory"):
        embedded.start()
    assert [path.name for path in embedded.home.iterdir()] == ["letters.txt"]


def test_stopping_twice_and_stopping_what_never_ran_is_fine(embedded: EmbeddedServer) -> None:
    embedded.stop()
    embedded.start()
    embedded.stop()
    embedded.stop()
    assert not embedded.is_running()


def test_a_server_that_does_not_start_is_told_in_one_line_with_its_reason(
    embedded: EmbeddedServer,
) -> None:
    embedded.start()
    embedded.stop()
    with (embedded.home / "postgresql.auto.conf").open("a") as file:
        file.write("shared_preload_libraries = 'no_such_library'\n")
    with pytest.raises(ServerError) as refusal:
        embedded.start()
    assert 'could not access file "no_such_library"' in str(refusal.value)
    assert "The data was left as it is." in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_two_starts_at_once_make_one_server(embedded: EmbeddedServer) -> None:
    code = (
        "import sys; from pathlib import Path; from ops.postgres.embedded import EmbeddedServer;"
        "print(EmbeddedServer(Path(sys.argv[1])).start().name)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(embedded.data_directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in started)
    assert said == ["CREATED", "REUSED"]


def test_only_operators_of_this_machine_are_superuser_and_logins_need_their_password(
    embedded: EmbeddedServer,
) -> None:
    embedded.start()
    with connect(embedded) as connection:
        connection.execute("CREATE ROLE somebody LOGIN PASSWORD 'right'")
    arguments = {**embedded.connection, "user": "somebody"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**{**arguments, "password": "wrong"})
    psycopg.connect(**{**arguments, "password": "right"}).close()
    assert embedded.socket.stat().st_mode & 0o077 == 0


def test_a_server_that_lost_its_socket_is_restarted(embedded: EmbeddedServer) -> None:
    embedded.start()
    first = postmaster(embedded)
    for file in embedded.socket.iterdir():  # a cleaner of temporary files came by
        file.unlink()
    deadline = time.monotonic() + 30
    assert embedded.start() is not Started.REUSED
    assert time.monotonic() < deadline
    assert postmaster(embedded) != first
    connect(embedded).close()
