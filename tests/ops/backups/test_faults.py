"""What goes wrong while a backup is taken: a clear sentence, and nothing that looks like one.

Whatever can be killed, filled up, locked or forbidden is, on a real server.
"""

from __future__ import annotations

import array
import fcntl
import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.db import connections
from psycopg import sql
from pytest_django import Settings

from ops.backups import logical, watch
from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.errors import OpsError
from ops.models import Backup, Run, RunKind, RunStatus
from ops.postgres import configuration, server, tools
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.provisioning import Provisioning, provision
from ops.postgres.roles import LOGINS
from ops.progress import CancelledError, Counter
from ops.rls.router import as_owner_by_default
from ops.runs import ask_to_cancel
from srvc.environment import BASE_DIR
from tests.harness import database
from tests.harness.waiting import wait_until
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups

# More than all pipes and buffers between pg_dump and the storage hold together.
MUCH = "CREATE TABLE public.much AS SELECT repeat('x', 1000000) AS x FROM generate_series(1, 40)"


class Hook(Counter):
    """Progress that does something once, when the first bytes of the dump have come."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act: Callable[[], None] | None = act

    def advance(self, amount: int) -> None:
        super().advance(amount)
        act, self._act = self._act, None
        if act is not None:
            act()


def take_with(act: Callable[[], None]) -> Backup:
    """Take a full backup, and do something in the middle of it."""
    return take_backup(ask_for_backup(Request(), by=ASKER), Hook(act))


def much(backups: Backups) -> None:
    backups.execute(MUCH)
    backups.execute("ALTER TABLE public.much OWNER TO srvc_owner")


def dumps() -> list[psutil.Process]:
    """The living pg_dump processes that this one started."""
    return [child for child in psutil.Process().children() if _is_dump(child)]


def _is_dump(process: psutil.Process) -> bool:
    try:
        return process.name() == "pg_dump" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # gone since it was listed
        return False


def no_lock_is_held(backups: Backups) -> bool:
    with backups.connect() as connection:
        row = connection.execute(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    return row is None


def require_nothing_left(backups: Backups, message: str) -> None:
    """Nothing is stored, the run says why, no lock is held, and the next one works."""
    assert [name for name in backups.stored if "much" not in name] == []
    run = Run.objects.newest_first().first()
    assert run is not None
    assert (run.status, run.message) == (RunStatus.FAILED, message)
    assert dumps() == []
    wait_until(lambda: no_lock_is_held(backups))


def require_told(message: str) -> None:
    """It is said what broke off, in the words of whoever noticed first: pg_dump, or a session that
    computes the proof. The driver's own words for a lost connection are many.
    """
    who = (
        "pg_dump failed",
        "pg_dumpall failed",
        "The database could not be read to its end for the proof: ",
        "The server went away or gave up while ",
    )
    assert message.startswith(who)
    assert message.endswith("run this again.")


# --- the server --------------------------------------------------------------------------------


@pytest.fixture
def own_server(scratch: Path, backups: Backups) -> Iterator[EmbeddedServer]:
    """A server that a test may kill, with SRVC's database on it; both aliases use it."""
    own = EmbeddedServer(scratch / "postgres", settings=configuration.THROW_AWAY)
    try:
        own.start()
        provision(Provisioning(own.connection, "killed", dict.fromkeys(LOGINS, database.PASSWORD)))
        source = Endpoint.of("owner")
        dump = subprocess.run(
            [source.program("pg_dump"), *source.arguments(), "--no-owner", "--no-privileges"],
            env=source.environment(), check=True, capture_output=True,
        )  # fmt: skip
        target = {"host": str(own.connection["host"]), "port": str(own.connection["port"])}
        before = {alias: dict(connections[alias].settings_dict) for alias in database.ALIASES}
        for alias in database.ALIASES:
            connections[alias].close()
            connections[alias].settings_dict.update(
                NAME="killed", HOST=target["host"], PORT=target["port"]
            )
        endpoint = Endpoint.of("owner")
        subprocess.run(
            [tools.find("psql", endpoint.major), *endpoint.arguments(), "--quiet"],
            env=endpoint.environment(), check=True, input=dump.stdout, capture_output=True,
        )  # fmt: skip
        yield own
        for alias, config in before.items():
            connections[alias].close()
            connections[alias].settings_dict.update(config)
    finally:
        own.destroy()


def test_a_server_that_is_gone_in_the_middle_leaves_nothing(
    own_server: EmbeddedServer, backups: Backups
) -> None:
    with Endpoint.of("owner").connect() as connection:
        connection.execute(MUCH.encode())
    postmaster = int((own_server.home / "postmaster.pid").read_text().split("\n", 1)[0])

    def kill() -> None:
        sessions = psutil.Process(postmaster).children()
        os.kill(postmaster, signal.SIGKILL)
        for session in sessions:
            session.kill()

    with pytest.raises(OpsError) as caught:
        take_with(kill)

    require_told(str(caught.value))
    assert backups.stored == []
    assert dumps() == []


def test_a_session_that_is_ended_in_the_middle_leaves_nothing(backups: Backups) -> None:
    much(backups)

    def end_the_snapshot() -> None:
        backups.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(OpsError) as caught:
        take_with(end_the_snapshot)

    require_told(str(caught.value))
    require_nothing_left(backups, str(caught.value))
    backups.take()


# --- this process ------------------------------------------------------------------------------


def test_kill_9_at_ten_random_points_leaves_nothing_that_looks_whole(backups: Backups) -> None:
    much(backups)
    seed = int.from_bytes(os.urandom(2))
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.backups.killed", "10", str(seed)],
        cwd=BASE_DIR, env=backups.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, (seed, done.stderr)

    # Whatever has a manifest is whole, and what has none is not where backups are.
    manifests = list((backups.folder / "manifests").glob("srvc-*.json"))
    assert 1 <= len(manifests) <= 11
    for file in manifests:
        manifest = Manifest.read(file.read_bytes(), [SIGNING_KEY], name=file.stem)
        content = (backups.folder / manifest.archive.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == manifest.archive.sha256
    for name in backups.unfinished:
        assert name.startswith("unfinished/.") or _is_whole(backups, name), seed

    # The next one works, ends the dead runs and removes what they left.
    wait_until(lambda: no_lock_is_held(backups))
    for left in (backups.folder / "unfinished").glob(".*"):
        os.utime(left, (0, 0))
    taken = backups.take()
    assert Run.objects.filter(status=RunStatus.RUNNING).count() == 0, seed
    assert not list((backups.folder / "unfinished").glob(".*"))
    assert f"{taken.name}.dump.zst.age" in backups.stored


def _is_whole(backups: Backups, name: str) -> bool:
    """Whether an object is whole: killed between it and its manifest, nothing is wrong with it."""
    if name.endswith(".metadata"):
        return (backups.folder / name.removesuffix(".metadata")).exists()
    import io

    import pyrage
    import zstandard

    identity = pyrage.x25519.Identity.from_str(backups.identity.read_text().splitlines()[1])
    opened = pyrage.decrypt((backups.folder / name).read_bytes(), [identity])
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(opened))
    return len(reader.read()) > 40_000_000


def test_it_can_be_cancelled_from_elsewhere_while_it_dumps(backups: Backups) -> None:
    much(backups)
    run = ask_for_backup(Request(), by=ASKER)

    def cancel() -> None:
        with as_owner_by_default():  # bytes are counted in a thread of their own
            ask_to_cancel(run, by="other@example.com")
        connections["owner"].close()
        # pg_dump has more to say than fits into its pipe, so it lives until it is ended.
        wait_until(lambda: dumps() == [])

    with pytest.raises(CancelledError, match="Nothing of it was kept"):
        take_backup(run, Hook(cancel))
    assert backups.stored == []
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_it_can_be_cancelled_from_elsewhere_while_it_waits_for_a_lock(backups: Backups) -> None:
    run = ask_for_backup(Request(), by=ASKER)

    class Waiting(Counter):
        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            super().phase(name, total, unit)
            if "locks" in name:
                ask_to_cancel(run, by="other@example.com")

    with backups.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CancelledError):
            take_backup(run, Waiting())
    assert backups.stored == []


# --- the storage -------------------------------------------------------------------------------


def test_a_full_storage_is_told_and_keeps_nothing_of_it(backups: Backups) -> None:
    backups.execute(
        "CREATE TABLE public.much AS SELECT gen_random_uuid() FROM generate_series(1, 40000)"
    )
    backups.execute("ALTER TABLE public.much OWNER TO srvc_owner")
    script = (
        "import resource, runpy, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, {resource.RLIM_INFINITY}))\n"
        "sys.argv[1:] = ['backup']\n"
        "runpy.run_path('manage.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=BASE_DIR, env=backups.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "CommandError: The storage dbbackup can't be used: File too large. Nothing that looks like "
        "a backup was left there. Check it and run this again."
    )
    assert backups.stored == []
    assert backups.take().state == "taken"


def bytes_in(pipe: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


class Hanging(FileSystemStorage):
    """Takes the first bytes and then nothing, until pg_dump has been ended."""

    def _save(self, name: str, content: File[bytes]) -> str:
        content.read(10)
        pipe = content.file.fileno()
        full = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - 100_000
        wait_until(lambda: bytes_in(pipe) > full)  # so that it is not pg_dump that says nothing
        watch.STALLED = 0.5
        wait_until(lambda: dumps() == [])
        return str(super()._save(name, content))  # type: ignore[misc]


def test_a_storage_that_takes_nothing_does_not_hold_the_database(
    backups: Backups, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STALLED", watch.STALLED)
    backups.execute(
        "CREATE TABLE public.much AS SELECT string_agg(gen_random_uuid()::text, '') AS x"
        " FROM generate_series(1, 200000) AS n GROUP BY n % 100"
    )
    backups.execute("ALTER TABLE public.much OWNER TO srvc_owner")
    settings.STORAGES = {
        **settings.STORAGES,
        "dbbackup": {
            "BACKEND": f"{__name__}.Hanging",
            "OPTIONS": {"location": str(backups.folder)},
        },
    }
    with pytest.raises(ToolError) as caught:
        backups.take()
    assert str(caught.value).startswith("The storage has taken nothing for")
    require_nothing_left(backups, str(caught.value))


# --- pg_dump -----------------------------------------------------------------------------------


@pytest.fixture
def fake_dump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a script the only pg_dump there is."""

    def make(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        major = Endpoint.of("owner").major
        fake = folder / "pg_dump"
        fake.write_text(script)
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        for name in ("pg_dumpall", "psql"):
            (folder / name).symlink_to(tools.find(name, major))
        monkeypatch.setattr(tools, "_folders", lambda major: [folder])
        return fake

    return make


def test_an_old_pg_dump_is_refused_with_what_to_install(
    backups: Backups, fake_dump: Callable[[str], Path]
) -> None:
    fake = fake_dump("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.22'\n")
    major = Endpoint.of("owner").major

    with pytest.raises(ToolError) as caught:
        backups.take()

    assert str(caught.value) == (
        f"No pg_dump of PostgreSQL {major} was found; there is only {fake} (12). Nothing was "
        "changed. Install the client programs of that version (Debian: apt-get install "
        f"postgresql-client-{major}) and run this again."
    )
    require_nothing_left(backups, str(caught.value))


def test_a_pg_dump_that_hangs_is_ended(
    backups: Backups, fake_dump: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    major = Endpoint.of("owner").major
    fake_dump(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {major}.0" && exit\n'
        "exec sleep 1000\n"
    )
    monkeypatch.setattr(watch, "STALLED", 0.5)
    with pytest.raises(ToolError) as caught:
        backups.take()
    assert str(caught.value).startswith("pg_dump has said nothing for")
    require_nothing_left(backups, str(caught.value))


def test_a_pg_dump_that_fails_after_its_last_byte_is_not_believed(
    backups: Backups, fake_dump: Callable[[str], Path]
) -> None:
    major = Endpoint.of("owner").major
    real = tools.find("pg_dump", major)
    fake_dump(
        f'#!/bin/sh\n{real} "$@" || exit\n[ "$1" = --version ] && exit\n'
        "echo 'pg_dump: error: the last word' >&2\nexit 3\n"
    )
    with pytest.raises(ToolError, match=r"^pg_dump failed: the last word\. Nothing"):
        backups.take()
    assert backups.stored == []


# --- rights ------------------------------------------------------------------------------------


def test_a_table_it_may_not_read_is_named(backups: Backups) -> None:
    backups.execute('CREATE TABLE public."somebody\'s own" (n int)')
    with pytest.raises(BackupError) as caught:
        backups.take()
    assert str(caught.value) == (
        "srvc_owner may not read every table: permission denied for table somebody's own. Nothing "
        "was taken. Use a login that owns the tables and has BYPASSRLS."
    )
    require_nothing_left(backups, str(caught.value))


def test_a_login_under_row_security_is_refused_rather_than_given_a_part(backups: Backups) -> None:
    login = f"{backups.database}_weak"
    identifier = sql.Identifier(login)
    with backups.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE srvc_owner").format(
                identifier, sql.Literal(database.PASSWORD)
            )
        )
    connections["owner"].close()
    connections["owner"].settings_dict["USER"] = login
    try:
        with pytest.raises(OpsError) as caught:
            backups.take()
        require_nothing_left(backups, str(caught.value))
    finally:
        connections["owner"].close()
        connections["owner"].settings_dict["USER"] = "srvc_owner"
        with backups.connect() as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(identifier))
    assert "query would be affected by row-level security policy" in str(caught.value)


# --- the schema --------------------------------------------------------------------------------


def test_a_schema_change_is_waited_for_only_so_long_and_named(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logical, "LOCK_WAIT", 0.3)
    with psycopg.connect(
        **{**database.admin(), "dbname": backups.database}, application_name="a migration"
    ) as blocker:
        blocker.execute("ALTER TABLE customers ADD COLUMN later int")
        with pytest.raises(BackupError) as caught:
            backups.take()
        pid = blocker.info.backend_pid
        blocker.rollback()
    assert f"public.customers was locked for too long by process {pid} of " in str(caught.value)
    assert "(a migration)" in str(caught.value)
    require_nothing_left(backups, str(caught.value))
    backups.take()


def test_a_schema_change_during_the_dump_waits_and_changes_nothing_in_it(
    backups: Backups,
) -> None:
    tried: list[type[Exception]] = []

    def alter() -> None:
        with backups.connect() as connection:
            connection.execute("SET lock_timeout = '50ms'")
            try:
                connection.execute("ALTER TABLE customers ADD COLUMN later int")
            except psycopg.errors.LockNotAvailable as error:
                tried.append(type(error))

    taken = take_with(alter)
    assert tried == [psycopg.errors.LockNotAvailable]
    assert taken.rows is not None


# --- clocks and names --------------------------------------------------------------------------


def test_a_backup_from_the_future_is_in_nobodys_way(backups: Backups) -> None:
    first = backups.take()
    Backup.objects.filter(pk=first.pk).update(taken_at=datetime.now(UTC) + timedelta(days=400))
    second = backups.take()
    assert second.name != first.name
    assert Backup.objects.newest_first().first() == first


def test_names_with_spaces_quotes_newlines_and_accents_are_backed_up(backups: Backups) -> None:
    odd = f"{backups.database} it's \"odd\"\n\\ = ü 'x'"
    with database.connect() as connection:
        server.clone_database(connection, database.template(), odd)
    try:
        with database.connect(odd) as connection:
            connection.execute('CREATE SCHEMA "o\'d d\n""ü"')
            connection.execute('CREATE TABLE "o\'d d\n""ü"."ta""b le\n" AS SELECT 1 AS "colu mn\n"')
            connection.execute('ALTER SCHEMA "o\'d d\n""ü" OWNER TO srvc_owner')
            connection.execute('ALTER TABLE "o\'d d\n""ü"."ta""b le\n" OWNER TO srvc_owner')
        with database.pointed_at(odd):
            taken = backups.take()
            some = backups.take(kind="tables", tables=('"o\'d d\n""ü"."ta""b le\n"',))
            connections.close_all()
    finally:
        with database.connect() as connection:
            server.drop_database(connection, odd, end_sessions=True)
    assert taken.database == odd
    assert taken.manifest["proof"]["tables"][0] == some.manifest["proof"]["tables"][0]
    assert some.rows == 1


def test_huge_values_large_objects_and_empty_tables_are_dumped(backups: Backups) -> None:
    backups.execute("CREATE TABLE public.huge AS SELECT repeat('é', 30000000) AS x")
    backups.execute("CREATE TABLE public.nothing ()")
    for table in ("huge", "nothing"):
        backups.execute(f"ALTER TABLE public.{table} OWNER TO srvc_owner")
    with Endpoint.of("owner").connect() as connection:
        connection.execute("SELECT lo_from_bytea(0, convert_to(repeat('y', 5000000), 'UTF8'))")
    taken = backups.take()
    assert taken.raw_size > 65_000_000
    assert taken.size < 5_000_000
    rows = {table["name"]: table["rows"] for table in taken.manifest["proof"]["tables"]}
    assert (rows["huge"], rows["nothing"], rows["pg_largeobject"]) == (1, 0, 1)
    assert Run.objects.filter(kind=RunKind.BACKUP, status=RunStatus.DONE).count() == 1
