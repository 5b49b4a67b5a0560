"""A server's facts, and its databases: clone, rename, drop."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ops.postgres import roles, server
from ops.postgres.errors import ServerError
from tests.harness import database, run

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def admin() -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture
def names(admin: Connection, worker_id: str) -> Iterator[tuple[str, str]]:
    """Return two names nobody else uses, with letters that need quoting."""
    found = (f'{run.name()}_{worker_id}_"a"', f"{run.name()}_{worker_id}_it's b")
    yield found
    for name in found:
        server.drop_database(admin, name, end_sessions=True)


def test_facts_say_what_the_server_is(admin: Connection) -> None:
    found = server.facts(admin)
    assert found.version.startswith(str(found.major))
    assert 15 <= found.major <= 18
    assert found.is_superuser
    assert not found.in_recovery


def test_a_clone_has_the_owner_grants_and_settings_of_its_source(
    admin: Connection, names: tuple[str, str], django_db_setup: None
) -> None:
    source, target = names
    server.create_database(admin, source, owner=roles.OWNER)
    quoted = '"' + source.replace('"', '""') + '"'
    admin.execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")
    admin.execute(f"GRANT CONNECT ON DATABASE {quoted} TO srvc_app WITH GRANT OPTION")
    admin.execute(f"ALTER DATABASE {quoted} SET search_path = public, pg_catalog")
    admin.execute(f"ALTER DATABASE {quoted} SET app.label = 'a=b'")
    admin.execute(f"ALTER ROLE srvc_app IN DATABASE {quoted} SET work_mem = '8MB'")

    server.clone_database(admin, source, target)

    properties = (
        "SELECT pg_get_userbyid(datdba), datacl::text, (SELECT array_agg((setrole::regrole,"
        " setconfig)::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid)"
        " FROM pg_database d WHERE datname = %s"
    )
    original = admin.execute(properties, [source]).fetchone()
    assert original is not None
    assert original[0] == roles.OWNER
    assert admin.execute(properties, [target]).fetchone() == original


def test_a_clone_of_nothing_changes_nothing(admin: Connection, names: tuple[str, str]) -> None:
    with pytest.raises(errors.InvalidCatalogName):
        server.clone_database(admin, names[0], names[1])
    with pytest.raises(ServerError, match="There is no database"):
        server.copy_properties(admin, names[0], "postgres")
    assert not server.database_exists(admin, names[1])


def test_a_database_is_renamed_and_dropped(admin: Connection, names: tuple[str, str]) -> None:
    server.create_database(admin, names[0], owner="postgres")
    server.rename_database(admin, names[0], names[1])
    assert server.databases(admin, names[1]) == [names[1]]
    server.drop_database(admin, names[1])
    assert not server.database_exists(admin, names[1])
    server.drop_database(admin, names[1])  # not there: fine


def test_sessions_are_ended_only_when_asked(admin: Connection, names: tuple[str, str]) -> None:
    server.create_database(admin, names[0], owner="postgres")
    with database.connect(names[0]):
        with pytest.raises(errors.ObjectInUse):
            server.drop_database(admin, names[0])
        server.drop_database(admin, names[0], end_sessions=True)
    assert not server.database_exists(admin, names[0])
