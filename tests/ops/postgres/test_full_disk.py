"""A disk without room: said in one line, and nothing is lost."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from ops.postgres import configuration
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.errors import DiskFullError
from tests.harness import disks

MakeDisk = Callable[[str], Path]


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[MakeDisk]:
    """Return what mounts a disk of a given size, where this machine allows it."""
    with ExitStack() as undo:
        yield lambda size: undo.enter_context(
            disks.mounted(scratch / "disk", f"size={size},mode=0711")
        )


def fill(disk: Path) -> None:
    filler = (disk / "filler").open("wb", buffering=0)
    with filler, pytest.raises(OSError, match="No space"):
        filler.writelines(itertools.repeat(bytes(4096)))


def test_a_disk_too_small_for_a_new_server_is_left_as_it_was(small_disk: MakeDisk) -> None:
    disk = small_disk("60m")
    server = EmbeddedServer(disk / "postgres", settings=configuration.THROW_AWAY)
    with pytest.raises(DiskFullError) as refusal:
        server.start()
    assert str(refusal.value) == (
        f"The disk that holds {disk} is full. What was saved before is safe, and nothing new was "
        "written. Free some space (a few hundred MB) and run this again."
    )
    assert [path.name for path in disk.iterdir()] == ["postgres.lock"]


def test_a_server_starts_again_once_there_is_room(small_disk: MakeDisk) -> None:
    disk = small_disk("300m")
    server = EmbeddedServer(disk / "postgres", settings=configuration.THROW_AWAY)
    try:
        server.start()
        with psycopg.connect(**server.connection) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        server.stop()
        fill(disk)
        with pytest.raises(DiskFullError, match="What was saved before is safe"):
            server.start()
        (disk / "filler").unlink()
        server.start()
        with psycopg.connect(**server.connection) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    finally:
        server.destroy()
