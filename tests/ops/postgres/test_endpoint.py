"""One address for psycopg and for PostgreSQL's programs, whatever the names in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from psycopg.conninfo import make_conninfo

from ops.postgres import server, tools
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError, ToolError
from tests.harness import database

AWKWARD = ["two words", 'it\'s "quoted"', "back\\slash", "two\nlines", "Größe 東京", "a=b&c%20d"]


def test_an_alias_of_the_settings_gives_its_login_and_libpqs_options_only(
    fresh_database: str,
) -> None:
    owner = Endpoint.of("owner")
    assert (owner.user, owner.database, owner.password) == ("srvc_owner", fresh_database, "test")
    assert owner.options == {"connect_timeout": "10"}
    assert owner.arguments() == [
        "--dbname="
        + make_conninfo(
            host=owner.host,
            port=owner.port,
            user="srvc_owner",
            dbname=fresh_database,
            connect_timeout=10,
        )
    ]
    config = connections["owner"].settings_dict
    config["OPTIONS"] = {**config["OPTIONS"], "pool": True, "sslmode": "disable"}
    assert Endpoint.of("owner").options == {"connect_timeout": "10", "sslmode": "disable"}


def test_a_connection_commits_by_itself_and_says_whose_it_is(fresh_database: str) -> None:
    with Endpoint.of("owner").connect() as connection:
        assert connection.autocommit
        row = connection.execute(
            "SELECT current_user, current_database(), current_setting('application_name')"
        ).fetchone()
    assert row == ("srvc_owner", fresh_database, "srvc backup")
    with Endpoint.of("owner").connect(application_name="mine", autocommit=False) as connection:
        assert not connection.autocommit
        assert connection.execute("SHOW application_name").fetchone() == ("mine",)


def test_the_program_is_of_the_servers_major_version(fresh_database: str) -> None:
    owner = Endpoint.of("owner")
    with owner.connect() as connection:
        assert owner.major == server.facts(connection).major
    assert tools.major_of(owner.program("pg_dump")) == owner.major


@pytest.fixture(params=AWKWARD)
def awkward(request: pytest.FixtureRequest, fresh_database: str) -> Iterator[str]:
    """Return the name of a database of the owner's that needs quoting."""
    name = f"{fresh_database} {request.param}"
    with database.connect() as connection:
        server.create_database(connection, name, owner="srvc_owner")
    yield name
    with database.connect() as connection:
        server.drop_database(connection, name, end_sessions=True)


def test_names_that_need_quoting_reach_the_same_database(awkward: str) -> None:
    there = Endpoint.of("owner").at(awkward)
    with there.connect() as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (awkward,)
    done = tools.run(
        there.program("psql"), *there.arguments(), "--no-psqlrc", "-AtX0",
        "--command", "SELECT current_database()",
        seconds=60,
        extra_environment=there.environment(),
    )  # fmt: skip
    assert done.stdout == f"{awkward}\0"


def test_a_url_is_understood_as_libpq_does() -> None:
    found = Endpoint.from_url(
        "postgres://me:p%40ss%2F%3A@%2Frun%2Fpg:5433/a%20b?sslmode=require&application_name=x"
    )
    assert found == Endpoint("/run/pg", "5433", "me", "a b", "p@ss/:", {"sslmode": "require"})
    assert found.environment()["PGPASSWORD"] == "p@ss/:"
    assert Endpoint.from_url("host=h user=me").database == "me"
    assert Endpoint.from_url("host=h user=me").password is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "mysql://me:hunter2@h/d",
        "postgres://me:hunter2@h:5432/d?unheard=of",
        "postgres://me:hunter2%zz@h/d",
        "postgres://:hunter2@h/d",
        "postgres://me:hunter2@/d",
        "host=h user=me password='hunter2",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ServerError) as refusal:
        Endpoint.from_url(url)
    assert str(refusal.value).startswith("This is no address of a PostgreSQL server with a login.")
    assert "hunter2" not in str(refusal.value)


def test_the_password_is_in_no_argument_and_no_representation(fresh_database: str) -> None:
    there = Endpoint.from_url("postgres://me:hunter2@h/d?sslmode=require")
    assert "hunter2" not in " ".join([repr(there), str(there), there.place, *there.arguments()])


def test_an_option_that_is_a_secret_is_not_shown_to_the_whole_machine() -> None:
    there = Endpoint.from_url("postgres://me@h/d?sslmode=require&sslpassword=hunter2")
    with pytest.raises(ToolError) as refusal:
        there.arguments()
    assert str(refusal.value).startswith("The address of d on h, port 5432 holds sslpassword, ")
    assert "hunter2" not in str(refusal.value) + repr(there)


def test_a_server_that_is_away_is_told_in_a_sentence(scratch: Path) -> None:
    away = Endpoint(str(scratch), "5432", "me", "d", "hunter2", {})
    with pytest.raises(ServerError) as refusal:
        away.connect()
    said = str(refusal.value)
    assert said.startswith(f"me cannot sign in to d on {scratch}, port 5432: connection is bad: ")
    assert "Nothing was changed." in said
    assert "\n" not in said
    assert "hunter2" not in said


def test_a_login_that_is_refused_is_told_in_a_sentence(fresh_database: str) -> None:
    with pytest.raises(ServerError, match=r"^srvc_owner cannot sign in to no such database on "):
        Endpoint.of("owner").at("no such database").connect()
