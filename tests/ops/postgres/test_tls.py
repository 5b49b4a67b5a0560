"""A server that wants TLS is reached with programs that speak it, or it is said what to install.

The programs that come with the application do not. Debian's do; where they are not installed (the
first half of CI) the refusal is what is tested.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.postgres import roles, tools
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.provisioning import Provisioning, provision
from tests.ops.postgres import debian

WANTS_TLS = r"^The server wants TLS, and the pg_dump of PostgreSQL \d+ that is here \(.*\) was "


@pytest.fixture(scope="module")
def tls_only() -> Iterator[Endpoint | None]:
    """Return a server's endpoint, or None where Debian's PostgreSQL 15 is not installed."""
    if not debian.BINARIES.is_dir():
        yield None
        return
    with debian.tls_only_server() as endpoint:
        yield endpoint


def only(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(tools, "_folders", lambda major: iter(folders))


def build_without_tls(folder: Path, major: int) -> Path:
    """Return a folder of programs that say what PostgreSQL's say when built without TLS."""
    folder.mkdir()
    for name in ("psql", "pg_dump"):
        program = folder / name
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {major}.1" && exit\n'
            f'echo \'{name}: error: sslmode value "require" invalid when SSL support is not '
            "compiled in' >&2; exit 2\n"
        )
        program.chmod(0o755)
    return folder


def test_the_applications_own_programs_are_found_to_be_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = tools.shipped_binaries()
    assert shipped is not None
    only(monkeypatch, shipped)
    assert not tools.speaks_tls(shipped / "pg_basebackup")
    assert tools.find("pg_dump", 18) == shipped / "pg_dump"
    with pytest.raises(ToolError, match=WANTS_TLS) as refusal:
        tools.find("pg_dump", 18, tls=True)
    assert "apt-get install postgresql-client-18" in str(refusal.value)


def test_a_program_without_tls_is_passed_over_for_one_with_it(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, tls_only: Endpoint | None
) -> None:
    without = build_without_tls(scratch / "without", 15)
    only(monkeypatch, without, debian.BINARIES)
    if tls_only:
        assert tools.find("pg_dump", 15) == without / "pg_dump"
        assert tools.find("pg_dump", 15, tls=True) == debian.BINARIES / "pg_dump"
    else:
        with pytest.raises(ToolError, match=WANTS_TLS):
            tools.find("pg_dump", 15, tls=True)


@pytest.mark.parametrize("sslmode", ["verify-full", "verify-ca", "require", None])
def test_a_server_that_wants_tls_is_dumped(tls_only: Endpoint | None, sslmode: str | None) -> None:
    if tls_only is None:
        with pytest.raises(ToolError, match=r"^No pg_dump of PostgreSQL 15 was found"):
            tools.find("pg_dump", 15, tls=True)
        return
    options = {**tls_only.options, "sslmode": sslmode or ""}
    there = dataclasses.replace(tls_only, options=options)
    program = there.program("pg_dump")
    assert tools.speaks_tls(program)
    done = tools.run(
        program, *there.arguments(), "--schema-only",
        seconds=60,
        extra_environment=there.environment(),
    )  # fmt: skip
    assert "-- PostgreSQL database dump complete" in done.stdout


@pytest.mark.parametrize("sslmode", ["verify-full", "prefer"])
def test_without_such_a_program_it_is_said_what_to_install(
    tls_only: Endpoint | None, sslmode: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, build_without_tls(scratch / "without", 15))
    if tls_only is None:
        with pytest.raises(ToolError, match=WANTS_TLS):
            tools.find("pg_dump", 15, tls=True)
        return
    there = dataclasses.replace(tls_only, options={**tls_only.options, "sslmode": sslmode})
    with pytest.raises(ToolError, match=WANTS_TLS) as refusal:
        there.program("pg_dump")
    assert "apt-get install postgresql-client-15" in str(refusal.value)


def test_a_login_that_may_come_without_tls_does_so_unless_its_address_demands_it(
    tls_only: Endpoint | None, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = build_without_tls(scratch / "without", 15)
    only(monkeypatch, without)
    if tls_only is None:
        assert tools.find("pg_dump", 15) == without / "pg_dump"
        return
    with tls_only.connect() as connection:
        connection.execute("CREATE ROLE careless LOGIN PASSWORD 's3cret'")
    there = dataclasses.replace(tls_only, user="careless", options={"sslmode": "prefer"})
    assert there.program("pg_dump") == without / "pg_dump"
    only(monkeypatch, without, debian.BINARIES)
    assert there.program("pg_dump") == debian.BINARIES / "pg_dump"
    only(monkeypatch, without)
    for option in ({"sslmode": "require"}, {"channel_binding": "require"}):
        with pytest.raises(ToolError, match=WANTS_TLS):
            dataclasses.replace(there, options=option).program("pg_dump")


def test_an_administrator_of_version_15_leaves_the_replication_login_to_its_superuser(
    tls_only: Endpoint | None,
) -> None:
    if tls_only is None:
        with pytest.raises(ToolError, match=r"^No psql of PostgreSQL 15 was found"):
            tools.find("psql", 15)
        return
    with tls_only.connect() as connection:
        connection.execute("CREATE ROLE boss LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
        admin = {
            "host": tls_only.host,
            "port": tls_only.port,
            "dbname": "postgres",
            "user": "boss",
            "password": "x",
            **tls_only.options,
        }
        work = Provisioning(admin, "srvc", dict.fromkeys(roles.LOGINS, "first"))
        assert any("ALTER ROLE srvc_replication REPLICATION" in said for said in provision(work))
        connection.execute("ALTER ROLE srvc_replication REPLICATION")
    changed = dataclasses.replace(work, passwords=dict.fromkeys(roles.LOGINS, "second"))
    warnings = provision(changed)
    assert not any("ALTER ROLE srvc_replication" in said for said in warnings)
    assert any(said.startswith("srvc_replication keeps the password") for said in warnings)
    there = dataclasses.replace(tls_only, user="srvc_owner", password="second", database="srvc")
    there.connect().close()
