"""Where the embedded server keeps its data and its socket."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ops.postgres import configuration, files
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.errors import ServerError
from ops.postgres.places import LONGEST_SOCKET_PATH, server_home, socket_directory, socket_path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


def test_the_socket_stands_beside_the_data_and_not_in_it(scratch: Path) -> None:
    assert socket_directory(scratch / "postgres") == scratch / "postgres-run"


def test_asking_for_the_address_makes_nothing(scratch: Path) -> None:
    socket_directory(scratch / "var" / "postgres")
    assert list(scratch.iterdir()) == []


def test_a_long_path_gets_a_short_socket_and_always_the_same(scratch: Path) -> None:
    long = scratch / ("x" * 100) / "postgres"
    found = socket_directory(long)
    assert len(os.fsencode(socket_path(found))) <= LONGEST_SOCKET_PATH
    assert found == socket_directory(long)
    assert found != socket_directory(long.with_name("other"))


def test_bytes_are_counted_and_not_letters(scratch: Path) -> None:
    found = socket_directory(scratch / ("ü" * 40) / "postgres")
    assert len(os.fsencode(socket_path(found))) <= LONGEST_SOCKET_PATH


def test_a_server_in_a_long_path_with_odd_letters_can_be_reached(scratch: Path) -> None:
    folder = scratch / f"it's, a folder of {'ü' * 40}"
    server = EmbeddedServer(folder / "postgres", settings=configuration.THROW_AWAY)
    try:
        server.start()
        psycopg.connect(**server.connection).close()
    finally:
        server.destroy()


@as_root
def test_as_root_a_private_project_stays_private(scratch: Path) -> None:
    private = scratch / "home"
    private.mkdir(mode=0o700)
    said: list[str] = []
    server = EmbeddedServer(
        private / "postgres", settings=configuration.THROW_AWAY, say=said.append
    )
    try:
        server.start()
        assert private.stat().st_mode & 0o777 == 0o700
        assert server.home.is_relative_to("/var/lib/srvc")
        assert server.home == server_home(private / "postgres")
        assert "cannot reach" in said[0]
        psycopg.connect(**server.connection).close()
    finally:
        server.destroy()


@as_root
def test_as_root_the_server_runs_as_the_owner_of_its_data(scratch: Path) -> None:
    server = EmbeddedServer(scratch / "postgres", settings=configuration.THROW_AWAY)
    try:
        server.start()
        pid = (server.home / "postmaster.pid").read_text().split("\n", 1)[0]
        owner = server.home.stat().st_uid
        assert owner != 0
        assert Path(f"/proc/{pid}").stat().st_uid == owner
    finally:
        server.destroy()


@as_root
def test_a_socket_folder_that_belongs_to_a_stranger_is_refused(scratch: Path) -> None:
    folder = scratch / "taken"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(ServerError, match="is not a folder of the user that runs PostgreSQL"):
        files.make_folder(folder, None)


def test_a_link_in_the_place_of_a_folder_is_refused(scratch: Path) -> None:
    (scratch / "link").symlink_to(scratch)
    with pytest.raises(ServerError, match="is not a folder of the user that runs PostgreSQL"):
        files.make_folder(scratch / "link", None)


@as_root
def test_a_private_umask_does_not_lock_the_server_out(scratch: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ops.postgres.embedded import EmbeddedServer;"
        "s = EmbeddedServer(Path(sys.argv[1])); s.start(); print(s.home); s.destroy()"
    )
    place = scratch / "var" / "postgres"
    done = subprocess.run(
        ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-c", code, place],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == str(place)
