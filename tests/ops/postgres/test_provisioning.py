"""Three logins, three roles: made once, again without harm, and never with a password in sight."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ops.postgres import roles, server, tools
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.errors import ProvisionError
from ops.postgres.provisioning import Provisioning, provision
from tests.harness import database, run

PASSWORDS = {
    roles.OWNER: "the owner's secret",
    roles.APP: "the app's secret",
    roles.REPLICATION: "the replicator's secret",
}


@pytest.fixture
def blank(embedded: EmbeddedServer) -> EmbeddedServer:
    """Return a running server without any role of ours."""
    embedded.start()
    return embedded


def sign_in(blank: EmbeddedServer, login: str) -> psycopg.Connection[tuple[Any, ...]]:
    arguments = {**blank.connection, "user": login, "password": PASSWORDS[login], "dbname": "srvc"}
    return psycopg.connect(**arguments, autocommit=True)


def as_superuser(
    blank: EmbeddedServer, name: str = "postgres"
) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(**{**blank.connection, "dbname": name}, autocommit=True)


_STATE = (
    """SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls,
       rolreplication, rolconfig FROM pg_roles WHERE rolname ~ '^srvc_' ORDER BY 1""",
    """SELECT roleid::regrole::text, member::regrole::text, inherit_option, set_option
       FROM pg_auth_members WHERE member::regrole::text ~ '^srvc_' ORDER BY 1, 2""",
    "SELECT datname, datacl, pg_get_userbyid(datdba) FROM pg_database ORDER BY 1",
    "SELECT nspacl, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'",
    "SELECT extname FROM pg_extension ORDER BY 1",
)


def state(blank: EmbeddedServer) -> list[Any]:
    """Return everything provisioning makes, but the salt of the passwords."""
    with as_superuser(blank, "srvc") as connection:
        return [connection.execute(query).fetchall() for query in _STATE]


def test_a_superuser_makes_everything_and_a_second_time_changes_nothing(
    blank: EmbeddedServer,
) -> None:
    work = Provisioning(blank.connection, "srvc", PASSWORDS)
    assert provision(work) == []
    first = state(blank)
    assert provision(work) == []
    assert state(blank) == first
    assert [row[:8] for row in first[0]] == [
        ("srvc_admin", False, True, False, False, False, False, False),
        ("srvc_app", False, False, False, False, True, False, False),
        ("srvc_member", False, True, False, False, False, False, False),
        ("srvc_owner", False, True, False, True, True, True, False),
        ("srvc_public", False, True, False, False, False, False, False),
        ("srvc_replication", False, False, False, False, True, False, True),
    ]


def test_the_app_may_become_each_role_and_has_none_of_their_rights_before(
    blank: EmbeddedServer,
) -> None:
    provision(Provisioning(blank.connection, "srvc", PASSWORDS))
    with sign_in(blank, roles.OWNER) as owner:
        owner.execute("CREATE TABLE jobs (n int); GRANT SELECT ON jobs TO srvc_member")
    with sign_in(blank, roles.APP) as app:
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute("SELECT * FROM jobs")
        for role in roles.REQUEST_ROLES:
            app.execute(f"SET ROLE {role}")
            app.execute("CREATE TEMPORARY TABLE works ON COMMIT DROP AS SELECT 1")
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute("CREATE TABLE public.mine (n int)")
        app.execute("SET ROLE srvc_member")
        assert app.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_the_app_is_held_to_its_time_limits(blank: EmbeddedServer) -> None:
    provision(Provisioning(blank.connection, "srvc", PASSWORDS))
    with sign_in(blank, roles.APP) as app:
        assert app.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert app.execute("SHOW lock_timeout").fetchone() == ("5s",)
        limit = app.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert limit == ("1min",)


def test_nobody_else_enters_the_database(blank: EmbeddedServer) -> None:
    provision(Provisioning(blank.connection, "srvc", PASSWORDS))
    with as_superuser(blank) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    arguments = {**blank.connection, "user": "stranger", "password": "x", "dbname": "srvc"}
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(**arguments)


def test_an_administrator_of_a_managed_service_is_told_what_to_ask_for(
    blank: EmbeddedServer,
) -> None:
    with as_superuser(blank) as connection:
        connection.execute("CREATE ROLE boss LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
    work = Provisioning({**blank.connection, "user": "boss", "password": "x"}, "srvc", PASSWORDS)
    warnings = provision(work)
    assert provision(work) == warnings
    asked = [
        "ALTER ROLE srvc_owner BYPASSRLS",
        "GRANT pg_monitor TO srvc_owner",
        "GRANT pg_signal_backend TO srvc_owner",
        "ALTER ROLE srvc_replication REPLICATION",
        "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO srvc_owner",
        "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO srvc_owner",
        "CREATE EXTENSION pg_stat_statements",
        "manage.py provision",
    ]
    assert len(warnings) == len(asked)
    for warning, ask in zip(warnings, asked, strict=True):
        assert f"`{ask}`" in warning
    with sign_in(blank, roles.OWNER) as owner:
        owner.execute("CREATE TABLE jobs (n int)")
    with as_superuser(blank) as connection:
        left = connection.execute("SELECT pg_has_role('boss', 'srvc_owner', 'USAGE')").fetchone()
    assert left == (False,)


def test_an_ordinary_role_is_refused_with_what_is_needed(blank: EmbeddedServer) -> None:
    with as_superuser(blank) as connection:
        connection.execute("CREATE ROLE nobody LOGIN PASSWORD 'x'")
    work = Provisioning({**blank.connection, "user": "nobody", "password": "x"}, "srvc", PASSWORDS)
    with pytest.raises(ProvisionError, match="Give a superuser's URL, or one with CREATEROLE"):
        provision(work)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ("ALTER ROLE srvc_app SUPERUSER", "is a superuser"),
        ("ALTER ROLE srvc_app BYPASSRLS", "has BYPASSRLS"),
        ("CREATE TABLE stray (n int); ALTER TABLE stray OWNER TO srvc_app", "owns tables"),
    ],
)
def test_an_app_that_could_see_past_the_policies_is_refused(
    blank: EmbeddedServer, spoil: str, named: str
) -> None:
    work = Provisioning(blank.connection, "srvc", PASSWORDS)
    provision(work)
    with as_superuser(blank, "srvc") as connection:
        connection.execute(spoil)
    with pytest.raises(ProvisionError, match=f"^srvc_app {named}, so rows of one account"):
        provision(work)


def test_passwords_are_in_no_log_and_no_representation(blank: EmbeddedServer) -> None:
    with as_superuser(blank) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    work = Provisioning(blank.connection, "srvc", PASSWORDS)
    provision(work)
    logs = "".join(file.read_text() for file in blank.logs.iterdir())
    assert "SCRAM-SHA-256$" in logs
    for secret in PASSWORDS.values():
        assert secret not in logs
        assert secret not in repr(work)


def test_the_printed_sql_makes_the_same_and_may_run_twice(blank: EmbeddedServer) -> None:
    script = roles.psql_script("srvc")
    for secret in PASSWORDS.values():
        assert secret not in script
    for _ in range(2):
        done = tools.run(
            tools.find("psql", 18), "--no-psqlrc", "--set", "ON_ERROR_STOP=1",
            "--host", blank.socket, "--username", "postgres", "--dbname", "postgres",
            "--file", "-",
            seconds=60,
            input_text=script,
            extra_environment={
                "SRVC_OWNER_PASSWORD": PASSWORDS[roles.OWNER],
                "SRVC_APP_PASSWORD": PASSWORDS[roles.APP],
                "SRVC_REPLICATION_PASSWORD": PASSWORDS[roles.REPLICATION],
            },
        )  # fmt: skip
        assert "ERROR" not in done.stderr
    printed = state(blank)
    assert provision(Provisioning(blank.connection, "srvc", PASSWORDS)) == []
    assert state(blank) == printed
    sign_in(blank, roles.APP).close()


def test_a_server_that_is_away_is_told_in_one_line(blank: EmbeddedServer) -> None:
    blank.stop()
    with pytest.raises(ProvisionError) as refusal:
        provision(Provisioning(blank.connection, "srvc", PASSWORDS))
    assert str(refusal.value).startswith("The server could not be reached as its administrator: ")
    assert "\n" not in str(refusal.value)


@pytest.fixture
def on_the_runs_server() -> Iterator[str]:
    """Return a database name on whatever server the suite runs on, PostgreSQL 15 in CI."""
    name = f"{run.name()}_provisioned"
    yield name
    database.drop_with_prefix(name)


def test_the_oldest_supported_server_is_provisioned_too(on_the_runs_server: str) -> None:
    work = Provisioning(
        database.admin(), on_the_runs_server, dict.fromkeys(roles.LOGINS, database.PASSWORD)
    )
    assert provision(work) == []
    with database.connect() as connection:
        row = connection.execute(
            "SELECT rolinherit, rolbypassrls FROM pg_roles WHERE rolname = 'srvc_app'"
        ).fetchone()
    assert row == (False, False)


def test_the_owner_makes_databases_that_have_what_only_a_superuser_may_add(
    on_the_runs_server: str,
) -> None:
    passwords = dict.fromkeys(roles.LOGINS, database.PASSWORD)
    work = Provisioning(database.admin(), on_the_runs_server, passwords)
    for _ in range(2):  # what is there already is mended, not made again
        assert provision(work) == []
        with database.connect() as connection:
            template = connection.execute(
                "SELECT datistemplate, datallowconn, pg_get_userbyid(datdba), datcollate ="
                " (SELECT datcollate FROM pg_database WHERE datname = %s)"
                " FROM pg_database WHERE datname = %s",
                [on_the_runs_server, f"{on_the_runs_server}_template"],
            ).fetchone()
        assert template == (True, False, roles.OWNER, True)
    made = f"{on_the_runs_server}_made"
    owner = psycopg.connect(database.url(roles.OWNER, "postgres"), autocommit=True)
    with contextlib.closing(owner):
        server.create_from_template(
            owner, made, roles.template_of(on_the_runs_server), owner=roles.OWNER
        )
    with contextlib.closing(
        psycopg.connect(database.url(roles.OWNER, made), autocommit=True)
    ) as inside:
        assert server.extensions(inside) >= roles.OUR_EXTENSIONS
        inside.execute("CREATE TABLE mine (name text)")
        inside.execute("CREATE INDEX ON mine USING gin (name gin_trgm_ops)")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(database.url(roles.APP, made))


def test_a_template_keeps_the_locale_of_its_database(blank: EmbeddedServer) -> None:
    with as_superuser(blank) as connection:
        connection.execute(
            "CREATE DATABASE srvc TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin"
            " BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    assert provision(Provisioning(blank.connection, "srvc", PASSWORDS)) == []
    with as_superuser(blank) as connection:
        locales = connection.execute(
            "SELECT datname, datlocprovider, datlocale, datcollate FROM pg_database"
            " WHERE datname LIKE 'srvc%' ORDER BY 1"
        ).fetchall()
    assert locales == [("srvc", "b", "C.UTF-8", "C"), ("srvc_template", "b", "C.UTF-8", "C")]


def test_a_database_that_a_crash_left_closed_in_a_swap_is_opened(blank: EmbeddedServer) -> None:
    work = Provisioning(blank.connection, "srvc", PASSWORDS)
    provision(work)
    with as_superuser(blank) as connection:
        connection.execute("CREATE DATABASE srvc_restore_1 OWNER srvc_owner")
        connection.execute("COMMENT ON DATABASE srvc_restore_1 IS 'srvc swap into srvc\nbefore'")
        connection.execute("ALTER DATABASE srvc ALLOW_CONNECTIONS false")
    said: list[str] = []
    assert provision(work, said.append) == []
    assert said == ["srvc is open again; the server had stopped in the middle of a swap"]
    with as_superuser(blank, "srvc") as connection:
        remark = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'srvc_restore_1'"
        ).fetchone()
    assert remark == ("before",)


def test_the_owner_looks_for_damaged_indexes_by_a_right_that_no_dump_carries(
    blank: EmbeddedServer,
) -> None:
    provision(Provisioning(blank.connection, "srvc", PASSWORDS))
    with sign_in(blank, roles.OWNER) as owner:
        owner.execute("CREATE TABLE jobs (id int PRIMARY KEY)")
        owner.execute("SELECT public.bt_index_check('jobs_pkey'::regclass, true)")
    with sign_in(blank, roles.APP) as app, pytest.raises(errors.InsufficientPrivilege):
        app.execute("SELECT public.bt_index_check('jobs_pkey'::regclass, true)")
    host, port = str(blank.connection["host"]), str(blank.connection["port"])
    dumped = tools.run(
        tools.find("pg_dump", 18),
        "--schema-only", "--host", host, "--port", port, "--username", "postgres", "srvc",
        seconds=60,
    ).stdout  # fmt: skip
    assert "EXTENSION IF NOT EXISTS amcheck" in dumped
    assert "bt_index_check" not in dumped
