"""A server of a worker's own, from which base backups and WAL are taken.

The run's shared server won't do: other tests write to it at the same time, and it may be an older
PostgreSQL.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ops.postgres import configuration, roles, tools
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.provisioning import Provisioning, provision
from ops.progress import Counter
from tests.harness import database, run


class During(Counter):
    """Does something as soon as the first bytes of a backup have come."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act: Callable[[], object] | None = act

    def advance(self, amount: int) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


@pytest.fixture(scope="session")
def replicating_server(
    django_test_environment: None, django_db_blocker: Any
) -> Iterator[EmbeddedServer]:
    """Return this worker's server with the migrated template on it."""
    folder = Path(tempfile.mkdtemp(prefix="replicating", dir=run.folder()))
    folder.chmod(0o711)
    dump = folder / "template.dump"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with django_db_blocker.unblock(), database.clone(f"{worker}_own") as source:
        _dump(source, dump)
    server = EmbeddedServer(folder / "postgres", settings=run.SETTINGS)
    try:
        server.start()
        _restore(server, f"{run.name()}_template", dump)
        yield server
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


def server_of_a_module() -> Any:
    """Return a fixture by which the harness makes a module's databases on that server."""

    @pytest.fixture(scope="module", autouse=True, name="server")
    def server(replicating_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
        before = os.environ.get(run.ADMIN_URL)
        address = f"postgres://postgres@/postgres?host={replicating_server.socket}"
        os.environ[run.ADMIN_URL] = address
        yield replicating_server
        if before is None:
            del os.environ[run.ADMIN_URL]
        else:
            os.environ[run.ADMIN_URL] = before

    return server


def _dump(name: str, file: Path) -> None:
    with database.connect(name) as connection:
        major = connection.info.server_version // 10_000
        info = connection.info
        address = make_conninfo(host=info.host, port=info.port, user=info.user, dbname=name)
        password = info.password
    tools.run(
        tools.find("pg_dump", major),
        f"--dbname={address}",
        "--format=custom",
        f"--file={file}",
        seconds=tools.MINUTE,
        password=password,
    )


def _restore(server: EmbeddedServer, name: str, file: Path) -> None:
    """Make the migrated template: quicker than migrating once more."""
    passwords = dict.fromkeys(roles.LOGINS, database.PASSWORD)
    provision(Provisioning(server.connection, name, passwords))
    program = tools.find("pg_restore", 18)
    tools.run(
        program,
        f"--host={server.socket}",
        "--username=postgres",
        f"--dbname={name}",
        "--clean",
        "--if-exists",
        "--exit-on-error",
        file,
        seconds=tools.MINUTE,
    )
    with psycopg.connect(**server.connection, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )


@contextmanager
def restored(
    links: list[Path], folder: Path, **settings: str
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Combine unpacked links, start a server on the result, and lend a superuser's connection.

    `settings` are PostgreSQL's, for instance what WAL to replay and up to when.
    """
    server = EmbeddedServer(folder / "restored", settings=configuration.THROW_AWAY)
    tools.run(
        tools.find("pg_combinebackup", 18),
        *links,
        f"--output={server.home}",
        "--no-sync",
        seconds=tools.MINUTE,
    )
    if settings:
        (server.home / "recovery.signal").touch()
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    with (server.home / "postgresql.auto.conf").open("a") as file:
        file.write("\n".join(["", *lines, ""]))
    account = pwd.getpwnam("postgres")
    if os.geteuid() == 0:
        for path in (server.home, *server.home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    try:
        server.start()
        with psycopg.connect(**server.connection, autocommit=True) as connection:
            yield connection
    finally:
        server.destroy()
