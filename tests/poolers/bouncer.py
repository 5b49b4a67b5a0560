"""A real PgBouncer between a test's database and whoever signs in through it."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.postgres import roles
from srvc.environment import BASE_DIR
from tests.harness import database, run
from tests.harness.waiting import wait_until

EXAMPLE = BASE_DIR / "docs" / "pgbouncer.ini"
PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
# CI installs it before its second half, which names a server; missing there, the tests fail.
_IS_PROMISED = bool(os.environ.get("CI") and os.environ.get(run.ADMIN_URL))
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None and not _IS_PROMISED, reason="not installed: pgbouncer"
)


@dataclass(frozen=True)
class Bouncer:
    """One that runs."""

    port: int
    database: str

    def url(self, login: str, name: str | None = None) -> str:
        """Return the address of the database through it, as DATABASE_URL has it."""
        password = database.PASSWORD
        return f"postgres://{login}:{password}@127.0.0.1:{self.port}/{name or self.database}"

    def connect(self, login: str = roles.APP, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Sign in through it, in autocommit mode."""
        return psycopg.connect(self.url(login), **{"autocommit": True, **more})


@contextmanager
def bouncer(folder: Path, name: str, *, pool: int = 1, **changes: str) -> Iterator[Bouncer]:
    """Run the example of the manual in front of a database, with these lines changed.

    `pool` is how many sessions of the server it opens for each login.
    """
    assert PROGRAM is not None, "pgbouncer is not installed"
    port = _free_port()
    server = database.admin()
    number = server.get("port", 5432)
    home = folder / f"pgbouncer-{port}"
    home.mkdir()
    users = home / "userlist.txt"
    logins = [*roles.LOGINS, str(server.get("user", "postgres"))]
    users.write_text("".join(f'"{each}" "{database.PASSWORD}"\n' for each in logins))
    configuration = home / "pgbouncer.ini"
    configuration.write_text(
        _changed(
            EXAMPLE.read_text(),
            listen_port=str(port),
            auth_file=str(users),
            logfile=str(home / "log"),
            pidfile=str(home / "pid"),
            **changes,
        ).replace(
            "srvc = host=127.0.0.1 port=5432",
            # Another name serves what a test names itself.
            f"{name} = host={server['host']} port={number} pool_size={pool}\n"
            f"* = host={server['host']} port={number}",
        )
    )
    process = subprocess.Popen(
        [PROGRAM, str(configuration)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **_unprivileged(home),
    )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, (home / "log").read_text()
        yield Bouncer(port, name)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _changed(text: str, **changes: str) -> str:
    for key, value in changes.items():
        line = f"{key} = {value}"
        text, number = re.subn(rf"^{key} =.*$", lambda _, new=line: new, text, flags=re.MULTILINE)
        if not number:
            text += f"{line}\n"
    return text


def _unprivileged(home: Path) -> dict[str, Any]:
    """Return what makes subprocess start it as the server's user: PgBouncer refuses root.

    That user reaches the server's socket, whose folder is closed to others.
    """
    if os.geteuid() != 0:
        return {}
    host = Path(str(database.admin()["host"]))
    entry = pwd.getpwuid(host.stat().st_uid) if host.is_absolute() else pwd.getpwnam("nobody")
    for path in (home, *home.iterdir()):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
