"""The log is read from a moment on, followed through rotation, and found where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from ops.health.serverlog.files import LocalFiles, ServersFiles, fitting
from ops.health.serverlog.parsing import Format
from ops.health.serverlog.reading import Log, follow, read
from ops.health.serverlog.sources import server_log
from ops.postgres.places import log_directory
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient

START = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
PREFIX = "%m [%p] %q%u@%d "


def line(seconds: float, text: str) -> str:
    at = START + timedelta(seconds=seconds)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC [1] a@b ERROR:  {text}\n"


def write(file: Path, text: str, *, seconds: float) -> None:
    """Add to a file as of a moment: files are read in the order in which they were written."""
    with file.open("a") as stream:
        stream.write(text)
    at = (START + timedelta(seconds=seconds)).timestamp()
    os.utime(file, (at, at))


class Counting(LocalFiles):
    """Counts the bytes that are read, and the most at once."""

    read_bytes = 0
    most = 0

    def read(self, name: str, offset: int, length: int) -> bytes:
        found = super().read(name, offset, length)
        Counting.read_bytes += len(found)
        Counting.most = max(Counting.most, len(found))
        return found


def test_a_large_log_is_read_from_the_moment_that_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    filler = "x" * 400 + "\n\tERROR:  not a message\n" + "\ty" * 40
    write(file, "".join(line(n, f"{n} {filler}") for n in range(30_000)), seconds=30_000)
    assert file.stat().st_size > 15_000_000
    files = Counting(tmp_path, fitting("%a.log", ""))
    Counting.read_bytes = Counting.most = 0
    log = Log(files, Format(PREFIX))
    found = list(read(log, START + timedelta(seconds=29_990)))
    assert [each.message.split()[0] for each in found] == [str(n) for n in range(29_990, 30_000)]
    assert Counting.read_bytes < 4_000_000
    assert Counting.most <= 1_048_576
    assert list(read(log, START + timedelta(seconds=40_000))) == []


def test_a_followed_log_goes_on_through_rotation(tmp_path: Path) -> None:
    one, two = tmp_path / "sun.log", tmp_path / "mon.log"
    write(one, line(0, "before") + line(10, "first"), seconds=10)
    log = Log(LocalFiles(tmp_path, fitting("%a.log", "")), Format(PREFIX))
    steps = iter(range(100))

    def pause(seconds: float) -> None:
        match next(steps):
            case 0:
                write(one, line(20, "half of a li")[:-1], seconds=20)
            case 1:
                write(one, "ne\n\tand more\n", seconds=21)
            case 5:
                # The next day's file, and what was still written into the last one.
                write(one, line(30, "last of one"), seconds=30)
                write(two, line(40, "first of two"), seconds=40)
            case 10:
                two.write_text("")
                write(two, line(50, "anew"), seconds=50)
            case 15:
                write(two, line(60, "end"), seconds=60)

    found: list[str] = []
    entries: Iterator[Any] = follow(log, START + timedelta(seconds=5), pause)
    for entry in entries:
        found.append(entry.message)
        if entry.message == "end":
            break
    assert found == ["first", "half of a line\nand more", "last of one", "first of two", "anew",
                     "end"]  # fmt: skip


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    write(tmp_path / "a.log", line(0, "z" * 5_000_000) + line(1, "next"), seconds=1)
    log = Log(LocalFiles(tmp_path, fitting("a.log", "")), Format(PREFIX))
    first, second = read(log, START)
    assert len(first.message) == 100_000
    assert second.message == "next"


def test_files_are_told_by_the_servers_setting() -> None:
    fits = fitting("postgresql-%Y-%m-%d_%H%M%S.log", "")
    assert fits("postgresql-2026-11-22_000000.log")
    assert not fits("postgresql-2026-11-22_000000.csv")
    assert not fits("startup.log")
    assert fitting("postgresql-%a.log", ".csv")("postgresql-Sun.csv")
    assert fitting("a[1]%%.log", "")("a[1]%.log")


def test_the_servers_own_log_is_found(patient: Patient, manage: Manage) -> None:
    with database.connect(patient.name) as connection:
        collects = connection.execute("SHOW logging_collector").fetchone() == ("on",)
        connection.execute("SET log_min_duration_statement = 0")
        connection.execute("SELECT 'a telling statement', current_database()")
    ended = manage("dblogs", "--since", "10min", "--json")
    if not collects:
        assert ended.status == 1
        assert "The server keeps no log of its own (logging_collector is off)" in ended.err
        return
    assert ended.status == 0, ended
    assert f'"database": "{patient.name}"' in ended.out
    assert "SELECT 'a telling statement', current_database()" in ended.out


def test_a_login_without_rights_is_told_which(
    patient: Patient, manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect(patient.name) as connection:
        if connection.execute("SHOW logging_collector").fetchone() != ("on",):
            return  # there is no log to read, and that is told before
        monkeypatch.setattr("ops.health.serverlog.sources.is_here", lambda connection: False)
        ended = manage("dblogs")
        assert ended.status == 1
        assert (
            "As a superuser (on the server: sudo -u postgres psql postgres): GRANT EXECUTE ON "
            "FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO srvc_owner;"
            in ended.err
        )
        # As somebody who may, the server itself reads it for us.
        arguments = database.admin()
        monkeypatch.setitem(connections["owner"].settings_dict, "USER", arguments["user"])
        with server_log() as log:
            assert isinstance(log.files, ServersFiles)
            file = log.files.all()[-1]
            assert log.files.read(file.name, 0, 20).startswith(b"20")
            assert log.files.read("gone.log", 0, 20) == b""


def test_the_log_of_a_server_that_is_down_is_read_all_the_same(
    patient: Patient,
    manage: Manage,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connections["owner"].settings_dict, "PORT", "1")
    assert manage("dblogs").status == 1
    settings.EMBEDDED_POSTGRES, settings.VAR_DIR = True, tmp_path
    monkeypatch.setattr("ops.health.serverlog.sources.log_directory", lambda data: tmp_path / "log")
    (tmp_path / "log").mkdir()
    file = tmp_path / "log" / "postgresql-Sun.log"
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}.000"
    file.write_text(f"{at} UTC [1] PANIC:  could not write\n")
    ended = manage("dblogs")
    assert ended.status == 0
    assert "The server does not answer: srvc_owner cannot sign in to" in ended.err
    assert "fatal    could not write" in ended.out


def test_the_embedded_servers_folder_is_known() -> None:
    assert log_directory(Path("/srv/srvc/var/postgres")).name == "postgres-log"
